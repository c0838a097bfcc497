//! The command `train`: resolves the configuration, prepares the data and the trainer, and runs the
//! epochs.

#[cfg(feature = "cuda")]
mod device_memory;
mod display;
pub(crate) mod dry_run;
mod epochs;
mod report;
mod resume_command;
mod saver;

use std::path::Path;

use anyhow::anyhow;
use lfnn_core::backend::Backend;
use lfnn_core::train::{Normalization, Setup, State, Trainer};

use crate::backend::{BackendArgs, Job};
use crate::checkpoint::{self, Checkpoint, Metadata};
use crate::cli::TrainArgs;
use crate::config::{self, Request, RunConfig, differences};
use crate::data::{self, Prepared};
use crate::failure::Failure;
use crate::output::Output;
use crate::run::{self, RunFolder};
use crate::{digest, format, interrupt, processes};

/// Runs the command.
///
/// # Errors
/// Anything wrong in the command line, the configuration or the data, and what fails in training.
pub(crate) fn command(
    args: &TrainArgs,
    choice: BackendArgs,
    output: &Output,
) -> Result<(), Failure> {
    processes::check_single()?;
    let request = request(args);
    let root = data::root(args.data.data_dir.as_deref())?;
    if args.dry_run {
        let config = config::resolve(&request)?;
        return dry_run::show(&config, &root, choice, output);
    }
    let (config, folder) = if args.resume {
        let path = match &args.out {
            Some(out) => out.clone(),
            None => run::newest(&config::resolve(&request)?)?,
        };
        let folder = RunFolder::open(&path)?;
        (asked(&folder, &request)?, folder)
    } else {
        let config = config::resolve(&request)?;
        let folder = RunFolder::create(args.out.as_deref(), &config)?;
        (config, folder)
    };
    interrupt::listen()?;
    let resume_command = resume_command::write(folder.path(), choice, &args.data);
    let run = Run {
        config: &config,
        resume: args.resume,
        tensorboard: args.tensorboard,
        root: &root,
        resume_command: &resume_command,
    };
    fit(run, folder, choice, output)
}

/// A run to be trained to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    /// What decides its result.
    pub(crate) config: &'a RunConfig,
    /// Whether it begins at its last checkpoint.
    pub(crate) resume: bool,
    /// Whether its metrics are written for TensorBoard too.
    pub(crate) tensorboard: bool,
    /// The folder of the data sets.
    pub(crate) root: &'a Path,
    /// The command with which the user resumes it.
    pub(crate) resume_command: &'a str,
}

/// Trains the run of a folder to its end.
///
/// # Errors
/// Data that is missing, settings that do not fit it, what fails in training, or the user's wish to
/// stop.
pub(crate) fn fit(
    run: Run<'_>,
    folder: RunFolder,
    choice: BackendArgs,
    output: &Output,
) -> Result<(), Failure> {
    let result = prepare(run, &folder, output).and_then(|(data, metadata, state)| {
        let precision = run.config.precision;
        choice.run(
            precision,
            output,
            Training { run, data, metadata, state, folder: &folder, output },
        )
    });
    match result {
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(())) => Ok(()),
        Err(failure) => {
            // Nothing was trained: a new folder would only be in the way.
            if !run.resume {
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

/// The one key that may differ when a run is resumed: where the data lies does not decide what is computed, and
/// a digest says whether it is the same data.
const MOVABLE: &str = "dataset.path";

/// The first key, with both values, in which two configurations of a run differ although it decides the result.
fn decisive_difference(
    one: &RunConfig,
    other: &RunConfig,
) -> Result<Option<(String, String, String)>, Failure> {
    Ok(differences(one, other)?.into_iter().find(|(key, ..)| key != MOVABLE))
}

/// The configuration with which a run is resumed: its own, and where its data lies now.
fn asked(folder: &RunFolder, request: &Request<'_>) -> Result<RunConfig, Failure> {
    let saved = config::resume(&folder.config(), &Request::default())?;
    let asked = config::resume(&folder.config(), request)?;
    if let Some((key, saved, asked)) = decisive_difference(&saved, &asked)? {
        return Err(Failure::Usage(anyhow!(
            "{}: `{key}` is {saved} in this run, but {asked} is asked for; a run is resumed with its own settings, \
             because others would change its result (leave the option out, or start a new run)",
            folder.path().display()
        )));
    }
    Ok(asked)
}

/// Loads the data, and the checkpoint of a run that is resumed.
fn prepare(
    run: Run<'_>,
    folder: &RunFolder,
    output: &Output,
) -> Result<(Prepared, Metadata, Option<State>), Failure> {
    let Run { config, root, .. } = run;
    let last = folder.last();
    let checkpoint = if run.resume && last.exists() {
        let checkpoint = checkpoint::load(&last)?;
        let found = &checkpoint.metadata.config;
        if let Some((key, found, expected)) = decisive_difference(found, config)? {
            return Err(Failure::Runtime(anyhow!(
                "{}: made with `{key}` = {found}, but config.yaml says {expected}",
                last.display()
            )));
        }
        Some(checkpoint)
    } else {
        None
    };
    let data = Prepared::load(config, root, output)?;
    let digest = digest::of(&data);
    let metadata = match &checkpoint {
        Some(Checkpoint { metadata, .. }) if metadata.data != digest => {
            return Err(Failure::Runtime(anyhow!(
                "{}: the data is not that with which the run began: its digest is {digest}, expected {}; images, \
                 labels or class names have changed",
                folder.path().display(),
                metadata.data
            )));
        }
        Some(Checkpoint { metadata, .. }) => {
            Metadata { config: config.clone(), ..metadata.clone() }
        }
        None => Metadata::new(config.clone(), data.classes.clone(), data.images().shape, digest),
    };
    // A new run has just written it.
    if run.resume && config::resume(&folder.config(), &Request::default())? != *config {
        folder.save_config(config)?;
    }
    Ok((data, metadata, checkpoint.map(|checkpoint| checkpoint.state)))
}

/// Training on a backend. The outer result fails before anything is trained, the inner one after.
struct Training<'a> {
    run: Run<'a>,
    data: Prepared,
    metadata: Metadata,
    /// Of a run that is resumed.
    state: Option<State>,
    folder: &'a RunFolder,
    output: &'a Output,
}

impl Job for Training<'_> {
    type Output = Result<(), Failure>;

    fn run<B: Backend>(self, backend: &B, device: &str) -> Result<Self::Output, Failure> {
        let Self { run, mut data, metadata, state, folder, output } = self;
        let setup = setup(run.config, &data.normalization);
        let mut trainer = Trainer::new(backend, &setup, data.images(), &data.train)?;
        if let Some(state) = state {
            trainer.restore(&state)?;
        }
        data.drop_host_images();
        if run.tensorboard {
            run::tensorboard::begin(folder.path())?;
        }
        interrupt::training_begins();
        print_header(run, &data, &trainer, device, folder, output)?;
        let data = &data;
        let resume_command = run.resume_command;
        let context = epochs::Context { data, folder, metadata, resume_command, output };
        Ok(epochs::run(backend.name(), trainer, context))
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
        limits: config.limits,
    }
}

/// The lines before the first epoch.
fn print_header<B: Backend>(
    Run { config, resume, .. }: Run<'_>,
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
        config.method().summary
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
        "network: {} hidden units, {} parameters and {} in readouts",
        trainer.network().units().len(),
        format::count(parameters),
        format::count(readout)
    ))?;
    output.info(&format!("backend: {device}"))?;
    output.info(&format!("folder: {}", folder.path().display()))?;
    if !folder.is_locked() {
        output.note(&format!(
            "note: {}: this file system has no locks; start no second training in this folder",
            folder.path().display()
        ));
    }
    let (epoch, step) = (trainer.epoch(), trainer.step_in_epoch());
    if trainer.is_finished() {
        output.info("this run is finished already")?;
    } else if epoch > 0 || step > 0 {
        output.info(&format!("resuming {}", epochs::progress(epoch, step)))?;
    } else if resume {
        output.info("no checkpoint yet: the run begins at its beginning")?;
    }
    output.info("")
}
