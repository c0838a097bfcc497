//! How long a training will take, from a few of its steps.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::plan::{Session, Task};
use crate::failure::Result;
use crate::resolved::{ResolvedRun, Resources};

/// Steps are timed for this long.
const LONG: Duration = Duration::from_millis(250);

/// The time that each task will take by itself.
///
/// # Errors
/// Data or settings with which the task could not run either.
pub(super) fn of_tasks(tasks: &[Task], resources: &Resources) -> Result<Vec<Duration>> {
    let mut known: HashMap<String, Duration> = HashMap::new();
    let mut of = |task: &Task| -> Result<Duration> {
        let training = match task {
            Task::Compute(computation) => return (computation.trial)(resources),
            Task::Train(training) => training.config()?,
        };
        // Trainings that differ in seed and leadership alone take the same time.
        let mut alike = training.clone();
        alike.seed = 0;
        alike.leadership = Default::default();
        let key = serde_json::to_string(&alike)?;
        if let Some(time) = known.get(&key) {
            return Ok(*time);
        }
        let time = of_training(&resources.run(&training))?;
        known.insert(key, time);
        Ok(time)
    };
    tasks.iter().map(&mut of).collect()
}

/// The time that a training will take.
///
/// # Errors
/// Data or settings with which it could not run.
pub(super) fn of_training(run: &ResolvedRun) -> Result<Duration> {
    let begin = Instant::now();
    let epochs = run.config.training.epochs;
    let mut run = run.clone();
    // The second step may be one of another epoch.
    run.config.training.epochs = epochs.max(2);
    let (first_step, each_epoch) = epoch(&run)?;
    Ok(first_step - begin + each_epoch.mul_f64(epochs as f64))
}

/// When the first step of a run was done, and how long an epoch takes with its evaluation.
fn epoch(run: &ResolvedRun) -> Result<(Instant, Duration)> {
    let session = Session::open(run)?;
    let (data, mut trainer) = (&session.data, session.trainer()?);
    trainer.train_step()?;
    trainer.check_finite()?;
    let first_step = Instant::now();

    let steps_per_epoch = trainer.steps_per_epoch();
    if trainer.epoch_is_done() {
        trainer.end_epoch()?;
    }
    let (begin, mut steps) = (Instant::now(), 0usize);
    while steps == 0 || (begin.elapsed() < LONG && steps + 1 < steps_per_epoch) {
        trainer.train_step()?;
        steps += 1;
    }
    // This waits for the device.
    trainer.metrics()?;
    let step = begin.elapsed().div_f64(steps as f64);

    let few = &data.test[..data.test.len().min(4 * trainer.batch_size())];
    let begin = Instant::now();
    trainer.evaluate(few)?;
    let image = begin.elapsed().div_f64(few.len().max(1) as f64);
    let evaluated = (data.validation.len() + data.test.len()) as f64;
    Ok((first_step, step.mul_f64(steps_per_epoch as f64) + image.mul_f64(evaluated)))
}
