//! Runs a plan: jobs side by side, each on its share of the threads, each saved as soon as it is done.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::{Computation, Job, Place, Training};
use crate::backend::BackendArgs;
use crate::config::{self, Request, RunConfig, differences};
use crate::failure::{Failure, chain};
use crate::files::{remove_left_overs, write_whole};
use crate::output::{Level, Output};
use crate::run::{self, EpochRow, RunFolder, Summary};
use crate::{format, interrupt, train};

/// What came out of a job.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Trained(Box<Trained>),
    Computed(Value),
    /// It cannot be done, and why.
    Failed(String),
}

/// A run that has come to its end.
#[derive(Clone, Debug)]
pub(super) struct Trained {
    pub(super) config: RunConfig,
    pub(super) summary: Summary,
    pub(super) rows: Vec<EpochRow>,
}

/// Outcomes by the names of the jobs.
#[derive(Debug, Default)]
pub(super) struct Results(pub(super) BTreeMap<String, Outcome>);

impl Results {
    /// The run of a training, if it came to its end.
    pub(super) fn run(&self, training: &Training) -> Option<&Trained> {
        match self.0.get(&training.id())? {
            Outcome::Trained(run) => Some(run),
            _ => None,
        }
    }

    /// The result of a computation, if it could be done.
    pub(super) fn value(&self, id: &str) -> Option<&Value> {
        match self.0.get(id)? {
            Outcome::Computed(value) => Some(value),
            _ => None,
        }
    }
}

/// A computation's file.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    settings: Value,
    version: String,
    result: Value,
}

/// The folder below which everything lies, and what runs there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runner<'a> {
    pub(super) out: &'a Path,
    pub(super) root: &'a Path,
    pub(super) choice: BackendArgs,
    pub(super) output: &'a Output,
}

impl Runner<'_> {
    fn run_folder(&self, training: &Training) -> PathBuf {
        self.out.join("runs").join(training.id())
    }

    fn file(&self, computation: &Computation) -> PathBuf {
        self.out.join("computed").join(format!("{}.json", computation.id))
    }

    /// What is there already of a job.
    ///
    /// # Errors
    /// A run with other settings under the same name, or a file that cannot be read.
    pub(super) fn done(&self, job: &Job) -> Result<Option<Outcome>, Failure> {
        match job {
            Job::Train(training) => {
                let folder = self.run_folder(training);
                if !folder.join(run::CONFIG).exists() {
                    return Ok(None);
                }
                let config = training.config()?;
                let saved = config::resume(&folder.join(run::CONFIG), &Request::default())?;
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
            Job::Compute(computation) => {
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

    /// Runs a job to its end.
    fn run(&self, job: &Job, threads: usize) -> Result<Outcome, Failure> {
        let choice = BackendArgs { threads: Some(threads), ..self.choice };
        let outcome = match job {
            Job::Train(training) => self.train(training, choice).map(|()| None),
            Job::Compute(computation) => {
                let place = Place { root: self.root, choice };
                (computation.work)(place).and_then(|result| {
                    let saved = Saved {
                        settings: computation.settings.clone(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        result,
                    };
                    let text = serde_json::to_string(&saved)? + "\n";
                    write_whole(&self.file(computation), text.as_bytes())?;
                    Ok(Some(Outcome::Computed(saved.result)))
                })
            }
        };
        match outcome {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => {
                self.done(job)?.context("a run ended without a summary").map_err(Into::into)
            }
            // One that diverges is a result too; the others go on.
            Err(Failure::Runtime(error)) => Ok(Outcome::Failed(chain(error.as_ref()))),
            Err(failure) => Err(failure),
        }
    }

    fn train(&self, training: &Training, choice: BackendArgs) -> Result<(), Failure> {
        let path = self.run_folder(training);
        let config = training.config()?;
        let resume = path.join(run::CONFIG).exists();
        let folder =
            if resume { RunFolder::open(&path)? } else { RunFolder::create(Some(&path), &config)? };
        // The command that is stopped is `reproduce`, which says itself how to resume.
        let (root, tensorboard, resume_command) = (self.root, false, "");
        let run = train::Run { config: &config, resume, tensorboard, root, resume_command };
        train::fit(run, folder, choice, &Output::new(Level::Silent))
    }

    /// Runs jobs, `side` at a time on `threads` threads in all.
    ///
    /// # Errors
    /// The first failure that is no result, or the user's wish to stop.
    pub(super) fn run_all(
        &self,
        jobs: &[Job],
        side: usize,
        threads: usize,
        results: &mut Results,
    ) -> Result<(), Failure> {
        for folder in ["runs", "computed"] {
            let folder = self.out.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("{}: cannot make the folder", folder.display()))?;
            remove_left_overs(&folder);
        }
        interrupt::training_begins();
        let finished = AtomicUsize::new(0);
        let done = Mutex::new((std::mem::take(results), None));
        let work = |jobs: &[&Job], side: usize| {
            let next = AtomicUsize::new(0);
            let share = (threads / side).max(1);
            let one = || {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let begin = Instant::now();
                    let ended = if interrupt::requested() {
                        Err(Failure::Interrupted)
                    } else {
                        self.run(job, share)
                    };
                    let Ok(mut done) = done.lock() else { return };
                    let (results, failure) = &mut *done;
                    let told = ended.and_then(|outcome| {
                        let number = finished.fetch_add(1, Ordering::SeqCst) + 1;
                        self.tell(job, &outcome, number, begin)?;
                        results.0.insert(job.id(), outcome);
                        Ok(())
                    });
                    if let Err(error) = told {
                        failure.get_or_insert(error);
                    }
                    if failure.is_some() {
                        return;
                    }
                }
            };
            thread::scope(|scope| {
                for _ in 0..side.min(jobs.len()) {
                    scope.spawn(one);
                }
            });
        };
        let (alone, others): (Vec<&Job>, Vec<&Job>) = jobs.iter().partition(|job| job.alone());
        work(&others, side);
        if done.lock().is_ok_and(|done| done.1.is_none()) {
            work(&alone, 1);
        }
        let (found, failure) = done.into_inner().map_err(|_| anyhow!("a job ended in a panic"))?;
        *results = found;
        failure.map_or(Ok(()), Err)
    }

    fn tell(
        &self,
        job: &Job,
        outcome: &Outcome,
        number: usize,
        begin: Instant,
    ) -> Result<(), Failure> {
        let what = match outcome {
            Outcome::Trained(run) => {
                format!("test error {}", format::percent(run.summary.test_error()))
            }
            Outcome::Computed(_) => "computed".into(),
            Outcome::Failed(why) => format!("FAILED: {why}"),
        };
        let time = format::duration(begin.elapsed());
        self.output.info(&format!("{number:>5}  {:<44}  {what}  {time}", job.id()))
    }
}
