//! `data`: lists, downloads and checks data sets.

use std::path::Path;

use anyhow::anyhow;
use lfnn_data::{DatasetName, Listing, Presence, Source, Update};

use crate::cli::DataAction;
use crate::config::did_you_mean;
use crate::data::{DataProgress, print_notes, root};
use crate::failure::{Failure, Result};
use crate::format::{self, Align, table};
use crate::output::Output;

/// Runs the action.
///
/// # Errors
/// A data set that is unknown, missing or wrong, or a download that fails.
pub(crate) fn command(action: &DataAction, output: &Output) -> Result {
    match action {
        DataAction::List { data } => {
            let root = root(data)?;
            let lines: Vec<Vec<String>> = lfnn_data::list(&root).iter().map(line).collect();
            output.info(&format!("data folder: {}", root.display()))?;
            let align = [Align::Left, Align::Left, Align::Right, Align::Right, Align::Left];
            output.result(&table(&align, &lines))
        }
        #[cfg(not(feature = "download"))]
        DataAction::Fetch { .. } => Err(crate::failure::lacks("`data fetch`", "download")),
        #[cfg(feature = "download")]
        DataAction::Fetch { name, data } => {
            let (name, root) = (known(name)?, root(data)?);
            let progress = DataProgress::new(output);
            let fetched =
                lfnn_data::fetch(name, &root, &|update: &Update<'_>| progress.show(update));
            progress.clear();
            output.result(&format!("{name}: {}", fetched?.display()))
        }
        DataAction::Verify { name, path, data } => {
            let root = root(data)?;
            let sources = match name {
                Some(name) => vec![Source { path: path.clone(), ..Source::named(known(name)?) }],
                None => lfnn_data::list(&root)
                    .into_iter()
                    .filter(|listing| !matches!(listing.presence, Presence::Absent { .. }))
                    .map(|listing| Source::named(listing.name))
                    .collect(),
            };
            verify(&sources, &root, output)
        }
    }
}

fn line(listing: &Listing) -> Vec<String> {
    let count = |count: Option<u64>| match count {
        Some(count) => format::count(count as usize),
        None => "–".into(),
    };
    let folder = || match &listing.folder {
        Some(folder) => folder.display().to_string(),
        None => String::new(),
    };
    let (state, about) = match &listing.presence {
        Presence::Embedded => ("inside", "in this program".into()),
        Presence::Present => ("there", folder()),
        Presence::Incomplete { problem } => ("broken", problem.clone()),
        Presence::Absent { hint } => ("missing", format!("{}: {hint}", folder())),
    };
    let (train, test) = (count(listing.train), count(listing.test));
    vec![listing.name.to_string(), state.into(), train, test, about]
}

fn known(name: &str) -> Result<DatasetName> {
    let names = DatasetName::ALL.iter().map(|name| name.as_str());
    name.parse().map_err(|error: lfnn_data::DataError| {
        Failure::Usage(anyhow!("{error}{}", did_you_mean(name, names)))
    })
}

fn verify(sources: &[Source], root: &Path, output: &Output) -> Result {
    let mut wrong = 0;
    for source in sources {
        let name = source.name;
        let folder = match &source.path {
            None if name.needs_path() => {
                return Err(Failure::Usage(anyhow!(
                    "data verify {name}: expected the path of {}: `lfnn-cli data verify {name} PATH`",
                    name.kind().expected()
                )));
            }
            Some(path) if name.is_embedded() => {
                let message = format!("{name} is compiled in; expected no path");
                return Err(Failure::Usage(anyhow!("{}: {message}", path.display())));
            }
            // A data set that is compiled in has no folder.
            _ => source.folder(root)?.unwrap_or_else(|| root.to_owned()),
        };
        let progress = DataProgress::new(output);
        let found = lfnn_data::verify(name, &folder, &|update: &Update<'_>| progress.show(update));
        progress.clear();
        let found = found?;
        for report in found.files {
            let good = report.state.is_good();
            wrong += usize::from(!good);
            let mark = if good { "ok   " } else { "WRONG" };
            let line = format!("{mark} {name} {}: {}", report.path.display(), report.state);
            if good { output.info(&line)? } else { output.result(&line)? }
        }
        print_notes(&found.notes, output);
    }
    match wrong {
        0 => output.result("all files are correct"),
        1 => Err(Failure::Runtime(anyhow!("1 file is wrong or missing"))),
        wrong => Err(Failure::Runtime(anyhow!("{wrong} files are wrong or missing"))),
    }
}
