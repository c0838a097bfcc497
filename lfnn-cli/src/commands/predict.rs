//! `predict`: classes of image files, with probabilities.

use std::path::{Path, PathBuf};

use anyhow::Context;
use lfnn_core::backend::Backend;
use lfnn_core::train::{Evaluator, Images, Labels};
use lfnn_data::{DataError, ImageShape, load_image, permute_pixels};
use serde_json::{Value, json};

use super::of_checkpoint;
use lfnn_core::backend::Precision;

use crate::backend::{BackendArgs, BackendTask};
use crate::checkpoint::{self, Checkpoint};
use crate::cli::PredictArgs;
use crate::failure::{Failure, chain};
use crate::format::{Align, table};
use crate::memory;
use crate::output::{Level, Output};

/// How many classes are named with `-v`.
const TOP: usize = 5;

/// Runs the command.
///
/// # Errors
/// A checkpoint that is missing or broken; after all other images were answered, an image that is.
pub(crate) fn command(
    args: &PredictArgs,
    backend: BackendArgs,
    output: &Output,
) -> Result<(), Failure> {
    let path = checkpoint::locate(&args.run)?;
    let checkpoint = checkpoint::load(&path)?;
    // Before an image is resized to what a damaged checkpoint may ask for.
    let image = checkpoint.metadata.image.into_iter().fold(1, usize::saturating_mul);
    memory::check(image.saturating_mul(args.images.len()), "images of its size")
        .with_context(|| path.display().to_string())?;
    let (images, loaded) = load(&args.images, &checkpoint, output)?;
    let mut outputs = Vec::new();
    if !images.is_empty() {
        let task = Predict { checkpoint: &checkpoint, images: &images, path: &path };
        outputs = backend.run(Precision::F32, output, task)?;
    }
    let classes = &checkpoint.metadata.classes;
    let mut outputs = outputs.iter().map(|row| probabilities(row, classes.len()));
    let answers: Vec<Answer<'_>> = args
        .images
        .iter()
        .zip(loaded)
        .map(|(image, loaded)| {
            (image.as_path(), loaded.map(|()| outputs.next().unwrap_or_default()))
        })
        .collect();
    if args.json {
        let values: Vec<_> = answers.iter().map(|answer| to_json(answer, classes)).collect();
        output.result(&serde_json::to_string_pretty(&values)?)?;
    } else if !images.is_empty() {
        let top = if output.level() > Level::Normal { TOP } else { 1 };
        output.result(&to_text(&answers, classes, top))?;
    }
    // The last error is the command's own.
    let mut errors = answers.into_iter().filter_map(|(_, answer)| answer.err());
    let last = errors.next_back();
    errors.for_each(|error| output.note(&format!("error: {}", chain(&error))));
    last.map_or(Ok(()), |error| Err(error.into()))
}

/// An image file, and the probability of each class or why there are none.
type Answer<'a> = (&'a Path, Result<Vec<f32>, DataError>);

/// The images that can be read, and for each file whether it could.
fn load(
    files: &[PathBuf],
    checkpoint: &Checkpoint,
    output: &Output,
) -> Result<(lfnn_data::Images, Vec<Result<(), DataError>>), Failure> {
    let [height, width, channels] = checkpoint.metadata.image;
    let shape = ImageShape { height, width, channels };
    let (mut pixels, mut good) = (Vec::new(), 0);
    let mut load = |file: &PathBuf| {
        let image = load_image(file, shape)?;
        if image.sixteen_bits && output.level() >= Level::Normal {
            let file = file.display();
            output.note(&format!("note: {file} has 16 bits per channel; 8 of them are used"));
        }
        pixels.extend(image.pixels);
        good += 1;
        Ok(())
    };
    let loaded = files.iter().map(&mut load).collect();
    let mut images = lfnn_data::Images::new(shape, pixels, vec![0; good])?;
    let config = &checkpoint.metadata.config;
    if config.dataset.permute_pixels {
        permute_pixels(&mut images, config.seed);
    }
    Ok((images, loaded))
}

/// The probability of each class.
fn probabilities(outputs: &[f32], classes: usize) -> Vec<f32> {
    // A binary network has one output, the probability of the second class.
    match outputs {
        [p] if classes == 2 => vec![1.0 - p, *p],
        all => all.to_vec(),
    }
}

/// Indices of the classes, the most probable first.
fn ranked(probabilities: &[f32]) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..probabilities.len()).collect();
    ranked.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    ranked
}

fn to_json((image, answer): &Answer<'_>, classes: &[String]) -> Value {
    let image = image.display().to_string();
    let probabilities = match answer {
        Ok(probabilities) => probabilities,
        Err(error) => return json!({ "image": image, "error": chain(error) }),
    };
    // Names of classes need not differ, so the index tells which class is meant.
    let class = |index: usize| {
        json!({
            "index": index,
            "class": classes.get(index),
            "probability": probabilities.get(index),
        })
    };
    let mut value = class(ranked(probabilities).first().copied().unwrap_or_default());
    value["image"] = image.into();
    value["probabilities"] = (0..probabilities.len()).map(class).collect();
    value
}

fn to_text(answers: &[Answer<'_>], classes: &[String], top: usize) -> String {
    let name = |index: usize| {
        let name = classes.get(index).map_or("", String::as_str);
        let ambiguous = classes.iter().filter(|other| *other == name).count() > 1;
        if ambiguous { format!("{name} ({index})") } else { name.to_owned() }
    };
    let mut lines = Vec::new();
    for (image, answer) in answers {
        let Ok(probabilities) = answer else { continue };
        for &index in ranked(probabilities).iter().take(top) {
            let percent = format!("{:.1} %", 100.0 * probabilities[index]);
            lines.push(vec![image.display().to_string(), name(index), percent]);
        }
    }
    table(&[Align::Left, Align::Left, Align::Right], &lines)
}

struct Predict<'a> {
    checkpoint: &'a Checkpoint,
    images: &'a lfnn_data::Images,
    path: &'a Path,
}

impl BackendTask for Predict<'_> {
    type Output = Vec<Vec<f32>>;

    fn run<B: Backend>(self, backend: &B, _: &str) -> Result<Self::Output, Failure> {
        let Checkpoint { metadata, state } = self.checkpoint;
        let images = Images {
            pixels: &self.images.pixels,
            labels: Labels::Classes(&self.images.labels),
            shape: metadata.image,
            classes: metadata.classes.len(),
        };
        let count = self.images.len();
        let all: Vec<u32> = (0..count as u32).collect();
        let predict = || {
            let network = &metadata.config.network;
            Evaluator::new(backend, network, images, state, count.min(64), false)?.predict(&all)
        };
        predict().map_err(|error| of_checkpoint(self.path, error))
    }
}
