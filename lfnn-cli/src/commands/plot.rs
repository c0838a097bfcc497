//! `plot`: the curves of any runs together, and their leadership over the epochs.

use crate::cli::PlotArgs;
use crate::failure::Result;
use crate::figures;
use crate::files::create_folder;
use crate::output::Output;
use crate::run::RecordedRun;

/// Runs the command.
///
/// # Errors
/// A folder without a run's metrics, or one that cannot be written.
pub(crate) fn command(args: &PlotArgs, output: &Output) -> Result {
    let runs = RecordedRun::read_all(&args.runs)?;
    let folder = &args.out;
    create_folder(folder)?;
    let curves = Some(figures::curves(&runs, args.x));
    for (name, figure) in [("curves", curves), ("leadership", figures::leadership(&runs))] {
        let Some(figure) = figure else { continue };
        figure.write(folder, name)?;
        for extension in ["svg", "png"] {
            output.result(&folder.join(name).with_extension(extension).display().to_string())?;
        }
    }
    Ok(())
}
