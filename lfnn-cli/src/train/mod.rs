//! The command `train`: options, resolved run, folder, data, training, report.

#[cfg(feature = "cuda")]
mod device_memory;
mod display;
pub(crate) mod dry_run;
mod epochs;
pub(crate) mod init;
mod report;
mod resume_command;
mod saver;

use std::path::Path;

use anyhow::anyhow;
use lfnn_core::train::{Normalization, Setup, State, Trainer};

use crate::backend::{BackendArgs, Device};
use crate::checkpoint::{self, Checkpoint, Metadata};
use crate::cli::TrainArgs;
use crate::config::{self, Request, RunConfig, differences};
use crate::data::{self, LoadedData};
use crate::failure::Failure;
use crate::output::Output;
use crate::resolved::{ResolvedRun, Resources};
use crate::run::{self, RunFolder};
use crate::{digest, format, interrupt, processes};

/// Runs the command.
///
/// # Errors
/// Anything wrong in the command line, the configuration or the data, and what fails in training.
pub(crate) fn command(
    args: &TrainArgs,
    backend: BackendArgs,
    output: &Output,
) -> Result<(), Failure> {
    processes::check_single()?;
    let request = request(args);
    let resources = Resources { data_root: data::root(&args.data)?, backend };
    let resume = |path: &Path| -> Result<_, Failure> {
        let folder = RunFolder::open(path)?;
        let (saved, config) = config::resume(&folder.config(), &request)?;
        check_resumed(&folder, &saved, &config)?;
        Ok((folder, Some(saved), config))
    };
    let (folder, saved, config) = match &args.out {
        Some(out) if args.resume => resume(out)?,
        out => {
            let mut config = config::resolve(&request)?;
            if !args.resume {
                init::configure(args, &mut config)?;
            }
            if args.dry_run {
                return dry_run::show(&ResolvedRun { config, resources }, output);
            } else if args.resume {
                resume(&run::newest(&config)?)?
            } else {
                (RunFolder::create(out.as_deref(), &config)?, None, config)
            }
        }
    };
    interrupt::listen()?;
    let mut resume_command = resume_command::write(folder.path(), backend, &args.data);
    if let Some(steps) = args.log_steps {
        resume_command += &format!(" --log-steps {steps}");
    }
    let (run, tensorboard) = (ResolvedRun { config, resources }, args.tensorboard);
    let log_steps = args.log_steps;
    TrainingRun { run, folder, saved, tensorboard, log_steps, resume_command }.train(output)
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

/// Whether a key may differ when a run is resumed: where data and weights are does not decide what is computed, and
/// digests check that they are the same. The test part is a file or a share, which does decide.
fn is_movable(key: &str, values: [&str; 2]) -> bool {
    let are_files = values.iter().all(|json| json.starts_with('"'));
    ["dataset.path", "init.path"].contains(&key) || (key == "dataset.test" && are_files)
}

/// The first key, with both values, in which two configurations of a run differ although it decides the result. A
/// later one may have more epochs, if those so far are the same whatever their number.
fn decisive_difference(
    one: &RunConfig,
    other: &RunConfig,
) -> Result<Option<(String, String, String)>, Failure> {
    let continues = !other.training.schedule.depends_on_epochs()
        && other.training.epochs >= one.training.epochs;
    let decides = |(key, one, other): &(String, String, String)| {
        !(is_movable(key, [one, other]) || continues && key == "training.epochs")
    };
    Ok(differences(one, other)?.into_iter().find(decides))
}

/// Checks that a run is resumed with its own settings, except for places and more epochs.
fn check_resumed(
    folder: &RunFolder,
    saved: &RunConfig,
    requested: &RunConfig,
) -> Result<(), Failure> {
    match decisive_difference(saved, requested)? {
        None => Ok(()),
        Some((key, saved, requested)) => Err(Failure::Usage(anyhow!(
            "{}: `{key}` is {saved} in this run, but the command line sets {requested}; a run is resumed with its \
             own settings, because others would change its result (leave the option out, or start a new run)",
            folder.path().display()
        ))),
    }
}

/// A run with its folder, to be trained to its end.
#[derive(Debug)]
pub(crate) struct TrainingRun {
    /// What is trained.
    pub(crate) run: ResolvedRun,
    /// Where everything goes.
    pub(crate) folder: RunFolder,
    /// The configuration in the folder, of a run that is resumed.
    pub(crate) saved: Option<RunConfig>,
    /// Whether its metrics are written for TensorBoard too.
    pub(crate) tensorboard: bool,
    /// Of how many steps each the metrics are written too, if wanted.
    pub(crate) log_steps: Option<usize>,
    /// The command with which the user resumes it.
    pub(crate) resume_command: String,
}

impl TrainingRun {
    /// Trains the run to its end.
    ///
    /// # Errors
    /// Data that is missing, settings that do not fit it, what fails in training, or the user's wish to stop.
    pub(crate) fn train(self, output: &Output) -> Result<(), Failure> {
        match self.start(output) {
            Ok((device, trainer, training)) => {
                epochs::run(device.backend.name(), trainer, training)
            }
            Err(failure) => {
                // Nothing was trained: a new folder would only be in the way.
                if self.saved.is_none() {
                    self.folder.discard();
                }
                Err(failure)
            }
        }
    }

    /// Does everything that comes before the first step.
    fn start<'a>(&'a self, output: &'a Output) -> Result<(Device, Trainer, Training<'a>), Failure> {
        let mut training = self.prepare(output)?;
        let device = self.run.device(output)?;
        let (config, data) = (&self.run.config, &training.data);
        let setup = setup(config, &data.normalization);
        let mut trainer =
            Trainer::from_images(&*device.backend, &setup, data.images(), &data.train)?;
        match (training.state.take(), &config.init) {
            (Some(state), _) => trainer.restore(&state)?,
            (None, Some(init)) => training.init = Some(init::load(init, &mut trainer)?),
            (None, None) => {}
        }
        training.data.drop_host_images();
        if self.tensorboard {
            run::tensorboard::begin(self.folder.path())?;
        }
        interrupt::training_begins();
        training.print_header(&trainer, &device.about)?;
        Ok((device, trainer, training))
    }

    /// Loads the checkpoint of a run that is resumed, and the data.
    fn prepare<'a>(&'a self, output: &'a Output) -> Result<Training<'a>, Failure> {
        let Self { run, folder, saved, .. } = self;
        let config = &run.config;
        let last = folder.last();
        let checkpoint = if saved.is_some() && last.exists() {
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
        let trained = checkpoint.as_ref().map(|checkpoint| &checkpoint.metadata.model);
        let data = run.load(trained, output)?;
        let digest = digest::of(&data);
        let (metadata, state) = match checkpoint {
            Some(Checkpoint { metadata, .. }) if metadata.data != digest => {
                return Err(Failure::Runtime(anyhow!(
                    "{}: the data differs from the data that the run started with: its digest is {digest}, expected {}; \
                     images, labels or class names have changed",
                    folder.path().display(),
                    metadata.data
                )));
            }
            Some(Checkpoint { metadata, state }) => {
                (Metadata { config: config.clone(), ..metadata }, Some(state))
            }
            None => {
                let model = data.model(&setup(config, &data.normalization));
                (Metadata::new(config.clone(), model, digest), None)
            }
        };
        if saved.as_ref().is_some_and(|saved| saved != config) {
            folder.save_config(config)?;
        }
        Ok(Training { run: self, data, metadata, state, init: None, output })
    }
}

/// A run that is ready to be trained.
#[derive(Debug)]
struct Training<'a> {
    run: &'a TrainingRun,
    data: LoadedData,
    metadata: Metadata,
    /// Of a run that is resumed.
    state: Option<State>,
    /// What was loaded into a run that begins with other weights than random ones.
    init: Option<String>,
    output: &'a Output,
}

/// What the core needs to know of a run.
pub(crate) fn setup<'a>(config: &'a RunConfig, normalization: &Normalization) -> Setup<'a> {
    Setup {
        network: &config.network,
        leadership: config.leadership,
        training: &config.training,
        method: config.method(),
        augmentation: config.dataset.augmentation,
        normalization: Some(normalization.clone()),
        seed: config.seed,
        limits: config.limits,
    }
}

impl Training<'_> {
    /// The lines before the first epoch.
    fn print_header(&self, trainer: &Trainer, device: &str) -> Result<(), Failure> {
        let Self { run: TrainingRun { run, folder, saved, .. }, data, output, .. } = self;
        let (config, network) = (&run.config, trainer.network());
        let (parameters, head_parameters) = network.parameter_counts();
        output.info(&format!(
            "{} · {} · seed {}: {}",
            config.label(),
            config.method,
            config.seed,
            config.method().summary
        ))?;
        output.info(&data.describe(config))?;
        output.info(&format!(
            "network: {} hidden units, {} parameters and {} head parameters",
            network.units().len(),
            format::count(parameters),
            format::count(head_parameters)
        ))?;
        if let Some(init) = &self.init {
            output.info(init)?;
        }
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
            output.info("run already finished")?;
        } else if epoch > 0 || step > 0 {
            output.info(&format!("resuming {}", epochs::progress(epoch, step)))?;
        } else if saved.is_some() {
            output.info("no checkpoint yet; the run starts from its first epoch")?;
        }
        output.info("")
    }
}
