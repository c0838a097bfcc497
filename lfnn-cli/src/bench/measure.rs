//! Measuring: blocks of steps, an inference, single operations.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use lfnn_core::config::Task;
use lfnn_core::random::{Purpose, Stream, below};
use lfnn_core::train::{
    Evaluator, Images, Labels, Normalization, ProfiledStep, TrainError, Trainer,
};

use super::{Measured, Spread};
use crate::backend::Device;
use crate::config::RunConfig;
use crate::data::DataShape;
use crate::failure::{Failure, Result};
use crate::memory;
use crate::train::setup;

/// Batches of images, over which an epoch goes again and again.
const BATCHES: usize = 8;
/// Batches in an epoch of the benchmark at most: a block, after which the device is waited for.
const MOST_STEPS: usize = 1024;
/// What a block should take at least, so that the wait, the metrics and the next epoch's order are little beside it.
const BLOCK: Duration = Duration::from_millis(200);
/// Blocks at least.
const BLOCKS: usize = 5;
/// Runs of which the least time of an operation counts.
const PROFILES: usize = 7;

/// Random images: zeros would be kinder than real data.
struct Noise {
    pixels: Vec<u8>,
    labels: Vec<u32>,
    /// The same for a regression, `[images, values]`.
    values: Vec<f32>,
}

impl Noise {
    fn new(count: usize, shape: &DataShape) -> Self {
        let stream = Stream::new(Purpose::Augment, 0);
        let bytes = count * shape.image.iter().product::<usize>();
        // Where 32 bits do not tell blocks apart, they repeat.
        let blocks = bytes.div_ceil(16);
        let mut pixels: Vec<u8> = (0..blocks)
            .flat_map(|block| stream.block(0, 0, 0, block as u32))
            .flat_map(u32::to_le_bytes)
            .collect();
        pixels.truncate(bytes);
        let classes = shape.classes as u32;
        let labels = (0..count as u32).map(|i| below(stream.at(0, 0, 1, i), classes)).collect();
        let uniform = |i: usize| stream.block(0, 0, 2, i as u32)[0] as f32 / u32::MAX as f32;
        let values = (0..count * shape.classes).map(uniform).collect();
        Self { pixels, labels, values }
    }
}

/// How many images are drawn for batches of this size.
///
/// # Errors
/// More than this machine has memory for, or than can be counted in 32 bits.
fn images(batch: usize, shape: &DataShape) -> Result<usize> {
    let count = batch.saturating_mul(BATCHES);
    let bytes = shape.image.iter().fold(count, |bytes, &extent| bytes.saturating_mul(extent));
    memory::check(bytes, &format!("{BATCHES} batches of {batch} images"))?;
    if u32::try_from(count).is_err() {
        let message = format!(
            "training.batch_size: {batch}, expected fewer than 2³² images in {BATCHES} batches"
        );
        return Err(Failure::Usage(anyhow!(message)));
    }
    Ok(count)
}

/// The measurement of a configuration, each speed for so many seconds.
pub(super) struct Measure<'a> {
    pub(super) config: &'a RunConfig,
    pub(super) shape: &'a DataShape,
    pub(super) seconds: f64,
}

impl Measure<'_> {
    /// Measures on a device.
    ///
    /// # Errors
    /// A configuration that cannot be, too little memory, or a failure of the backend.
    pub(super) fn run(self, device: &Device) -> Result<Measured> {
        let Self { config, shape, seconds } = self;
        let backend = &*device.backend;
        // As many epochs as a training may have: what is measured is measured over and over.
        let mut config = config.clone();
        config.training.epochs = u32::MAX as usize / MOST_STEPS;
        let config = &config;
        let batch = config.training.batch_size;
        let count = images(batch, shape)?;
        let noise = Noise::new(count, shape);
        let labels = match config.network.task {
            Task::Regression => Labels::Values(&noise.values),
            _ => Labels::Classes(&noise.labels),
        };
        let images = Images {
            pixels: (&noise.pixels).into(),
            labels,
            shape: shape.image,
            classes: shape.classes,
        };
        let channels = shape.image[2];
        let normalization = Normalization { mean: vec![0.5; channels], std: vec![0.3; channels] };
        let setup = setup(config, &normalization);
        let indices =
            |steps: usize| -> Vec<u32> { (0..steps * batch).map(|i| (i % count) as u32).collect() };
        let budget = Duration::from_secs_f64(seconds);

        // A first look, at two steps in turn, tells how many make a block.
        let mut trainer = Trainer::from_images(backend, &setup, images, &indices(1))?;
        block(&mut trainer)?;
        let mut steps_of_block = batches_of_block(|| block(&mut trainer))?;
        if steps_of_block > 1 {
            drop(trainer);
            trainer = Trainer::from_images(backend, &setup, images, &indices(steps_of_block))?;
            block(&mut trainer)?;
            steps_of_block = setup.steps_per_epoch(steps_of_block * batch);
        }
        let training = repeat(budget, steps_of_block * batch, || block(&mut trainer))?;
        let profile = profile(&mut trainer)?;

        let state = trainer.state()?;
        let (memory, cost) = (trainer.memory(), trainer.step_cost());
        drop(trainer);
        let mut evaluator = Evaluator::new(backend, &config.network, images, &state, batch, false)?;
        let mut infer = |examples: &[u32]| evaluator.evaluate(examples).map(|_| ());
        let one = indices(1);
        infer(&one)?;
        let examples = indices(batches_of_block(|| infer(&one))?.min(BATCHES));
        let inference = repeat(budget, examples.len(), || infer(&examples))?;
        drop(evaluator);

        Ok(Measured {
            recipe: config.label().to_owned(),
            method: config.method.clone(),
            batch,
            device: device.about.clone(),
            training,
            inference,
            cost,
            memory,
            peak: memory::peak(),
            steps: profile,
            peak_rates: backend.peak_rates().map_err(anyhow::Error::from)?,
        })
    }
}

/// How many batches make a block, from the time that one takes.
fn batches_of_block<E>(mut one: impl FnMut() -> Result<(), E>) -> Result<usize, E> {
    let start = Instant::now();
    one()?;
    let wanted = BLOCK.as_nanos() / start.elapsed().as_nanos().max(1);
    Ok(usize::try_from(wanted).map_or(MOST_STEPS, |steps| steps.clamp(1, MOST_STEPS)))
}

/// Images a second of work on `count` images, done over and over.
fn repeat<E>(
    budget: Duration,
    count: usize,
    mut work: impl FnMut() -> Result<(), E>,
) -> Result<Spread, E> {
    let (mut speeds, begin) = (Vec::new(), Instant::now());
    while speeds.len() < BLOCKS || begin.elapsed() < budget {
        let start = Instant::now();
        work()?;
        speeds.push(count as f64 / start.elapsed().as_secs_f64());
    }
    Ok(Spread::of(speeds))
}

/// An epoch, until the device is done with it.
fn block(trainer: &mut Trainer) -> Result<(), TrainError> {
    while !trainer.epoch_is_done() {
        trainer.train_step()?;
    }
    trainer.check_finite()?;
    trainer.end_epoch()
}

/// The operations of a step, each with the least time of several runs.
fn profile(trainer: &mut Trainer) -> Result<Vec<ProfiledStep>, TrainError> {
    let mut least: Vec<ProfiledStep> = Vec::new();
    for run in 0..PROFILES {
        if trainer.epoch_is_done() {
            trainer.end_epoch()?;
        }
        let steps = trainer.profile_step()?;
        if run == 0 {
            least = steps;
            continue;
        }
        for (least, step) in least.iter_mut().zip(steps) {
            least.time = least.time.min(step.time);
        }
    }
    Ok(least)
}
