//! A plan: what a target needs to be trained and computed.

use std::path::PathBuf;
use std::time::Duration;

use lfnn_core::backend::Backend;
use lfnn_core::train::Trainer;
use serde::Serialize;
use serde_json::Value;

use super::trial;
use crate::backend::Device;
use crate::cli::Scale;
use crate::config::{self, Request, RunConfig};
use crate::data::LoadedData;
use crate::failure::Result;
use crate::output::{Level, Output};
use crate::resolved::{ResolvedRun, Resources};
use crate::train::setup;

/// What is to be reproduced.
#[derive(Clone, Debug)]
pub(super) struct ReproduceRequest {
    /// How much is computed.
    pub(super) scale: Scale,
    /// Of a table, the recipes whose parts are wanted; all if none is named.
    pub(super) recipes: Vec<String>,
    /// The seeds, from 1.
    pub(super) seeds: Vec<u64>,
    /// The folder of the data sets.
    pub(super) data_root: PathBuf,
    /// `KEY=VALUE` of every training: restrictions for trying things out.
    pub(super) limits: Vec<String>,
}

impl ReproduceRequest {
    /// Whether the scale is the paper's.
    pub(super) fn is_paper(&self) -> bool {
        self.scale == Scale::Paper
    }

    /// What the command line calls the scale.
    pub(super) fn scale_name(&self) -> &'static str {
        if self.is_paper() { "paper" } else { "quick" }
    }

    /// Whether it is restricted, so that nothing but its course matters.
    pub(super) fn is_short(&self) -> bool {
        !self.limits.is_empty()
    }

    /// A training of a recipe as it stands.
    pub(super) fn training(&self, recipe: &str, method: &str, seed: u64) -> Training {
        Training {
            recipe: recipe.into(),
            method: method.into(),
            seed,
            label: String::new(),
            sets: Vec::new(),
            limits: self.limits.clone(),
        }
    }
}

/// A training: a run with a folder of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Training {
    recipe: String,
    method: String,
    seed: u64,
    label: String,
    sets: Vec<String>,
    limits: Vec<String>,
}

impl Training {
    /// The same training with a setting changed. The label tells it from others in folders' names.
    pub(super) fn set(mut self, label: &str, settings: &[String]) -> Self {
        self.label += &format!("-{label}");
        self.sets.extend_from_slice(settings);
        self
    }

    /// The same training with this percentage of leaders.
    pub(super) fn leaders(self, percent: usize) -> Self {
        let delta = percent as f64 / 100.0;
        self.set(&format!("delta{percent}"), &[format!("leadership.delta={delta}")])
    }

    /// Its name, and that of its folder.
    pub(super) fn id(&self) -> String {
        format!("{}-{}{}-{}", self.recipe, self.method, self.label, self.seed)
    }

    /// Its configuration.
    ///
    /// # Errors
    /// A setting that does not fit the recipe.
    pub(super) fn config(&self) -> Result<RunConfig> {
        // Restrictions come last: they hold whatever a target sets.
        let sets = [&self.sets[..], &self.limits].concat();
        let options = [("method", self.method.clone()), ("seed", self.seed.to_string())]
            .map(|(key, value)| (format!("{key} of the plan"), key, value))
            .to_vec();
        let request = Request { recipe: Some(&self.recipe), file: None, options, sets: &sets };
        config::resolve(&request)
    }
}

/// A run with its data and its device, for work that prints nothing.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) config: &'a RunConfig,
    pub(super) data: LoadedData,
    device: Device,
}

impl<'a> Session<'a> {
    /// Loads the data of a run and opens its device.
    ///
    /// # Errors
    /// Data that is missing or does not fit the run's settings, or a backend that is missing.
    pub(super) fn open(run: &'a ResolvedRun) -> Result<Self> {
        let output = Output::new(Level::Silent);
        Ok(Self {
            config: &run.config,
            data: run.load(None, &output)?,
            device: run.device(&output)?,
        })
    }

    /// What computes.
    pub(super) fn backend(&self) -> &dyn Backend {
        &*self.device.backend
    }

    /// The trainer of the run.
    ///
    /// # Errors
    /// Data or settings that do not fit the network, or a failure of the backend.
    pub(super) fn trainer(&self) -> Result<Trainer> {
        let setup = setup(self.config, &self.data.normalization);
        Ok(Trainer::from_images(self.backend(), &setup, self.data.images(), &self.data.train)?)
    }
}

type Compute = dyn Fn(&Resources) -> Result<Value> + Send + Sync;
type Trial = dyn Fn(&Resources) -> Result<Duration> + Send + Sync;

/// A computation whose result is a JSON file.
pub(super) struct Computation {
    /// Its name, and that of its file.
    pub(super) id: String,
    /// Everything on which the result depends, beside the program.
    pub(super) settings: Value,
    /// Whether it measures time and so runs by itself.
    pub(super) alone: bool,
    /// How long it will take, from a short trial.
    pub(super) trial: Box<Trial>,
    /// The work.
    pub(super) work: Box<Compute>,
}

impl Computation {
    /// Work on a run, whose result depends on its configuration and on some `settings`, an object.
    /// It takes `factor` times as long as the training.
    ///
    /// # Errors
    /// None is expected.
    pub(super) fn of_run<T: Serialize>(
        id: String,
        config: RunConfig,
        mut settings: Value,
        factor: f64,
        work: impl Fn(&ResolvedRun) -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        settings["config"] = serde_json::to_value(&config)?;
        Ok(Self {
            id,
            settings,
            alone: false,
            trial: Self::trial(config.clone(), factor),
            work: Box::new(move |resources| {
                Ok(serde_json::to_value(work(&resources.run(&config))?)?)
            }),
        })
    }

    /// `factor` times the duration of a training.
    pub(super) fn trial(config: RunConfig, factor: f64) -> Box<Trial> {
        Box::new(move |resources| Ok(trial::of_training(&resources.run(&config))?.mul_f64(factor)))
    }
}

/// A part of a plan.
pub(super) enum Task {
    Train(Training),
    Compute(Computation),
}

impl Task {
    pub(super) fn id(&self) -> String {
        match self {
            Task::Train(training) => training.id(),
            Task::Compute(computation) => computation.id.clone(),
        }
    }

    pub(super) fn alone(&self) -> bool {
        matches!(self, Task::Compute(computation) if computation.alone)
    }
}
