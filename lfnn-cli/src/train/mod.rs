//! The command `train`: resolves the configuration, prepares the data and the trainer, and runs the
//! epochs.

mod device_memory;
mod display;
mod dry_run;
mod epochs;
mod report;
mod saver;

use std::path::Path;

use anyhow::anyhow;
use lfnn_core::backend::Backend;
use lfnn_core::train::{Normalization, Setup, Trainer};

use crate::backend::{Choice, Job};
use crate::checkpoint::{self, Checkpoint, Metadata};
use crate::cli::TrainArgs;
use crate::config::{self, Request, RunConfig, differences};
use crate::data::{self, Prepared};
use crate::failure::Failure;
use crate::output::Output;
use crate::run::{self, RunFolder};
use crate::{format, interrupt};

/// Runs the command.
///
/// # Errors
/// Anything wrong in the command line, the configuration or the data, and what fails in training.
pub(crate) fn command(args: &TrainArgs, choice: Choice, output: &Output) -> Result<(), Failure> {
    let request = request(args);
    let root = data::root(args.data.data_dir.as_deref())?;
    if args.dry_run {
        let config = config::resolve(&request)?;
        return dry_run::show(&config, &root, choice, output);
    }
    let (config, folder) = if args.resume {
        let (config, path) = find_run(args, &request)?;
        (config, RunFolder::open(&path)?)
    } else {
        let config = config::resolve(&request)?;
        let folder = RunFolder::create(args.out.as_deref(), &config)?;
        (config, folder)
    };
    interrupt::listen()?;
    if args.tensorboard {
        run::tensorboard::begin(folder.path(), &run::read_rows(folder.path())?)?;
    }
    fit(&config, folder, args.resume, &root, choice, output)
}

/// Trains the run of a folder to its end; `goes_on` says whether from its last checkpoint.
///
/// # Errors
/// Data that is missing, settings that do not fit it, what fails in training, or the user's wish to
/// stop.
pub(crate) fn fit(
    config: &RunConfig,
    folder: RunFolder,
    goes_on: bool,
    root: &Path,
    choice: Choice,
    output: &Output,
) -> Result<(), Failure> {
    let result = prepare(config, &folder, goes_on, root, output).and_then(|(data, checkpoint)| {
        let job = Training { config, data, checkpoint, folder: &folder, output };
        choice.run(config.precision, output, job)
    });
    match result {
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(())) => Ok(()),
        Err(failure) => {
            // Nothing was trained: a new folder would only be in the way.
            if !goes_on {
                folder.discard();
            }
            Err(failure)
        }
    }
}

fn request(args: &TrainArgs) -> Request<'_> {
    let options = [
        config::option("method", "method", args.method.as_ref()),
        config::option("precision", "precision", args.precision.as_ref()),
        config::option("seed", "seed", args.seed),
        config::option("epochs", "training.epochs", args.epochs),
        config::option("limit-batches", "limits.batches", args.limit_batches),
        config::option("overfit-batches", "limits.overfit_batches", args.overfit_batches),
    ];
    let options = options.into_iter().flatten().collect();
    Request {
        recipe: args.recipe.as_deref(),
        file: args.config.as_deref(),
        options,
        sets: &args.set,
    }
}

/// The run that `--resume` means, with its configuration.
fn find_run(
    args: &TrainArgs,
    request: &Request<'_>,
) -> Result<(RunConfig, std::path::PathBuf), Failure> {
    let path = match &args.out {
        Some(out) => out.clone(),
        None => run::newest(&config::resolve(request)?)?,
    };
    let file = run::saved_config(&path)?;
    let saved = config::resume(&file, &Request::default())?;
    let asked = config::resume(&file, request)?;
    let different = differences(&saved, &asked)?;
    if let Some((key, saved, asked)) = different.first() {
        return Err(Failure::Usage(anyhow!(
            "{}: `{key}` is {saved} in this run, but {asked} is asked for; a run goes on with its \
             own settings, because others would change its result (leave the option out, or start \
             a new run)",
            path.display()
        )));
    }
    Ok((saved, path))
}

/// Loads the data, and the checkpoint of a run that goes on.
fn prepare(
    config: &RunConfig,
    folder: &RunFolder,
    goes_on: bool,
    root: &Path,
    output: &Output,
) -> Result<(Prepared, Option<Checkpoint>), Failure> {
    let last = folder.last();
    let checkpoint = if goes_on && last.exists() {
        let checkpoint = checkpoint::load(&last)?;
        if let Some((key, found, expected)) =
            differences(&checkpoint.metadata.config, config)?.first()
        {
            return Err(Failure::Runtime(anyhow!(
                "{}: made with `{key}` = {found}, but config.yaml says {expected}",
                last.display()
            )));
        }
        Some(checkpoint)
    } else {
        None
    };
    Ok((Prepared::load(config, root, output)?, checkpoint))
}

/// Training on a backend. The outer result fails before anything is trained, the inner one after.
struct Training<'a> {
    config: &'a RunConfig,
    data: Prepared,
    checkpoint: Option<Checkpoint>,
    folder: &'a RunFolder,
    output: &'a Output,
}

impl Job for Training<'_> {
    type Output = Result<(), Failure>;

    fn run<B: Backend>(self, backend: &B, device: &str) -> Result<Self::Output, Failure> {
        let Self { config, mut data, checkpoint, folder, output } = self;
        let setup = setup(config, &data.normalization);
        let mut trainer = Trainer::new(backend, &setup, data.images(), &data.train)?;
        let image = data.images().shape;
        let metadata = match checkpoint {
            Some(Checkpoint { metadata, state }) => {
                trainer.restore(&state)?;
                metadata
            }
            None => Metadata::new(config.clone(), data.classes.clone(), image),
        };
        data.free_pixels();
        interrupt::training_begins();
        introduce(config, &data, &trainer, device, folder, output)?;
        Ok(epochs::run(backend.name(), trainer, &data, folder, metadata, output))
    }
}

/// What the core needs to know of a run.
pub(crate) fn setup<'a>(config: &'a RunConfig, normalization: &Normalization) -> Setup<'a> {
    Setup {
        network: &config.network,
        leadership: config.leadership,
        training: &config.training,
        method: config.method(),
        augmentation: config.dataset.augmentation,
        normalization: normalization.clone(),
        seed: config.seed,
        limits: config.limits(),
    }
}

/// The lines before the first epoch.
fn introduce<B: Backend>(
    config: &RunConfig,
    data: &Prepared,
    trainer: &Trainer<B>,
    device: &str,
    folder: &RunFolder,
    output: &Output,
) -> Result<(), Failure> {
    let (parameters, readout) = trainer.network().parameter_counts();
    output.info(&format!(
        "{} · {} · seed {}: {}",
        config.label(),
        config.method,
        config.seed,
        config.method().describe()
    ))?;
    output.info(&format!(
        "data: {}, {} training, {} validation and {} test images, {} classes",
        config.dataset.name,
        format::count(data.train.len()),
        format::count(data.validation.len()),
        format::count(data.test.len()),
        data.classes.len()
    ))?;
    output.info(&format!(
        "network: {} hidden units, {} parameters and {} of readouts",
        trainer.network().units().len(),
        format::count(parameters),
        format::count(readout)
    ))?;
    output.info(&format!("backend: {device}"))?;
    output.info(&format!("folder: {}", folder.path().display()))?;
    let (epoch, step) = (trainer.epoch(), trainer.step_in_epoch());
    if trainer.is_finished() {
        output.info("this run is finished already")?;
    } else if epoch > 0 || step > 0 {
        output.info(&format!("goes on {}", epochs::progress(epoch, step)))?;
    }
    output.info("")
}
