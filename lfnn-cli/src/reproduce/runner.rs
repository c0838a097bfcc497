//! Runs a plan: tasks side by side, each on its share of the threads, each saved as soon as it is done.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::{Computation, ReproduceRequest, Task, Training};
use crate::config::{self, RunConfig, differences};
use crate::failure::{Failure, Result, chain};
use crate::files::{create_folder, remove_left_overs, write_whole};
use crate::output::{Level, Output};
use crate::resolved::{ResolvedRun, Resources};
use crate::run::{self, EpochRow, RunFolder, Summary};
use crate::train::TrainingRun;
use crate::{format, interrupt};

/// What came out of a task.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Trained(Box<Trained>),
    Computed(Value),
    /// It cannot be done, and why.
    Failed(String),
}

impl Outcome {
    /// What came out, in a few words; `failed` stands before the reason of a failure.
    pub(super) fn describe(&self, failed: &str) -> String {
        match self {
            Outcome::Trained(run) => {
                format!("test error {}", format::percent(run.summary.test_error()))
            }
            Outcome::Computed(_) => "computed".into(),
            Outcome::Failed(why) => format!("{failed}: {why}"),
        }
    }
}

/// A run that has come to its end.
#[derive(Clone, Debug)]
pub(super) struct Trained {
    pub(super) config: RunConfig,
    pub(super) summary: Summary,
    pub(super) rows: Vec<EpochRow>,
}

/// What came out of a request.
#[derive(Debug)]
pub(super) struct Results<'a> {
    pub(super) request: &'a ReproduceRequest,
    /// By the names of the tasks.
    pub(super) outcomes: BTreeMap<String, Outcome>,
}

impl Results<'_> {
    /// The run of a training, if it came to its end.
    pub(super) fn run(&self, training: &Training) -> Option<&Trained> {
        match self.outcomes.get(&training.id())? {
            Outcome::Trained(run) => Some(run),
            _ => None,
        }
    }

    /// The result of a computation, if it could be done.
    ///
    /// # Errors
    /// A result of another form.
    pub(super) fn read<T: DeserializeOwned>(&self, id: &str) -> anyhow::Result<Option<T>> {
        let Some(Outcome::Computed(value)) = self.outcomes.get(id) else { return Ok(None) };
        T::deserialize(value).map(Some).with_context(|| format!("{id}: the result cannot be read"))
    }
}

/// A computation's file.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    settings: Value,
    version: String,
    result: Value,
}

/// The folder of all files, and what runs there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runner<'a> {
    pub(super) out: &'a Path,
    pub(super) resources: &'a Resources,
    pub(super) output: &'a Output,
}

impl Runner<'_> {
    fn run_folder(&self, training: &Training) -> PathBuf {
        self.out.join("runs").join(training.id())
    }

    fn file(&self, computation: &Computation) -> PathBuf {
        self.out.join("computed").join(format!("{}.json", computation.id))
    }

    /// What is there already of a task.
    ///
    /// # Errors
    /// A run with other settings under the same name, or a file that cannot be read.
    pub(super) fn done(&self, task: &Task) -> Result<Option<Outcome>> {
        match task {
            Task::Train(training) => {
                let folder = self.run_folder(training);
                if !folder.join(run::CONFIG).exists() {
                    return Ok(None);
                }
                let config = training.config()?;
                let saved = config::read_saved(&folder.join(run::CONFIG))?;
                if let Some((key, saved, planned)) = differences(&saved, &config)?.first() {
                    return Err(Failure::Usage(anyhow!(
                        "{}: `{key}` is {saved} in this run, but {planned} in this plan; --out names \
                         another folder",
                        folder.display()
                    )));
                }
                let Some(summary) = Summary::read(&folder)? else { return Ok(None) };
                let rows = run::read_rows(&folder)?;
                Ok(Some(Outcome::Trained(Box::new(Trained { config, summary, rows }))))
            }
            Task::Compute(computation) => {
                let path = self.file(computation);
                let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
                // A file of other settings, of another version or broken is computed anew.
                let saved = serde_json::from_str::<Saved>(&text).ok();
                let same = |saved: &Saved| {
                    saved.settings == computation.settings
                        && saved.version == env!("CARGO_PKG_VERSION")
                };
                Ok(saved.filter(same).map(|saved| Outcome::Computed(saved.result)))
            }
        }
    }

    /// Runs a task to its end.
    fn run(&self, task: &Task, threads: usize) -> Result<Outcome> {
        let resources = self.resources.with_threads(threads);
        let outcome = match task {
            Task::Train(training) => self.train(training, resources).map(|()| None),
            Task::Compute(computation) => (computation.work)(&resources).and_then(|result| {
                let saved = Saved {
                    settings: computation.settings.clone(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    result,
                };
                let text = serde_json::to_string(&saved)? + "\n";
                write_whole(&self.file(computation), text.as_bytes())?;
                Ok(Some(Outcome::Computed(saved.result)))
            }),
        };
        match outcome {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => {
                self.done(task)?.context("a run ended without a summary").map_err(Into::into)
            }
            // One that diverges is a result too; the others go on.
            Err(Failure::Runtime(error)) => Ok(Outcome::Failed(chain(error.as_ref()))),
            Err(failure) => Err(failure),
        }
    }

    fn train(&self, training: &Training, resources: Resources) -> Result {
        let path = self.run_folder(training);
        let run = ResolvedRun { config: training.config()?, resources };
        let resumed = path.join(run::CONFIG).exists();
        let folder = if resumed {
            RunFolder::open(&path)?
        } else {
            RunFolder::create(Some(&path), &run.config)?
        };
        // `done` has compared the two.
        let saved = resumed.then(|| run.config.clone());
        // The command that is stopped is `reproduce`, which says itself how to resume.
        let (tensorboard, log_steps, resume_command) = (false, None, String::new());
        let run = TrainingRun { run, folder, saved, tensorboard, log_steps, resume_command };
        run.train(&Output::new(Level::Silent))
    }

    /// Runs tasks, `side` at a time on `threads` threads in all.
    ///
    /// # Errors
    /// The first failure that is no result, or the user's wish to stop.
    pub(super) fn run_all(
        &self,
        tasks: &[Task],
        side: usize,
        threads: usize,
        results: &mut Results<'_>,
    ) -> Result {
        for folder in ["runs", "computed"] {
            let folder = self.out.join(folder);
            create_folder(&folder)?;
            remove_left_overs(&folder);
        }
        interrupt::training_begins();
        let finished = AtomicUsize::new(0);
        let done = Mutex::new((std::mem::take(&mut results.outcomes), None));
        let work = |tasks: &[&Task], side: usize| {
            let next = AtomicUsize::new(0);
            let share = (threads / side).max(1);
            let one = || {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let begin = Instant::now();
                    let ended = interrupt::check().and_then(|()| self.run(task, share));
                    let Ok(mut done) = done.lock() else { return };
                    let (outcomes, failure) = &mut *done;
                    let printed = ended.and_then(|outcome| {
                        let number = finished.fetch_add(1, Ordering::SeqCst) + 1;
                        self.print(task, &outcome, number, begin)?;
                        outcomes.insert(task.id(), outcome);
                        Ok(())
                    });
                    if let Err(error) = printed {
                        failure.get_or_insert(error);
                    }
                    if failure.is_some() {
                        return;
                    }
                }
            };
            thread::scope(|scope| {
                for _ in 0..side.min(tasks.len()) {
                    scope.spawn(one);
                }
            });
        };
        let (alone, others): (Vec<&Task>, Vec<&Task>) = tasks.iter().partition(|task| task.alone());
        work(&others, side);
        if done.lock().is_ok_and(|done| done.1.is_none()) {
            work(&alone, 1);
        }
        let (found, failure) = done.into_inner().map_err(|_| anyhow!("a task ended in a panic"))?;
        results.outcomes = found;
        failure.map_or(Ok(()), Err)
    }

    fn print(&self, task: &Task, outcome: &Outcome, number: usize, begin: Instant) -> Result {
        let (what, time) = (outcome.describe("FAILED"), format::duration(begin.elapsed()));
        self.output.info(&format!("{number:>5}  {:<44}  {what}  {time}", task.id()))
    }
}
