//! `predict`: classes of image files, with probabilities.

use std::path::Path;

use anyhow::Context;
use lfnn_core::backend::Backend;
use lfnn_core::train::{Evaluator, Images, Labels};
use lfnn_data::{ImageShape, load_image, permute_pixels};
use serde_json::json;

use super::of_checkpoint;
use lfnn_cuda::Precision;

use crate::backend::{Choice, Job};
use crate::checkpoint::{self, Checkpoint};
use crate::cli::PredictArgs;
use crate::failure::Failure;
use crate::format::{Align, table};
use crate::memory;
use crate::output::Output;

/// How many classes are named with `-v`.
const TOP: usize = 5;

/// Runs the command.
///
/// # Errors
/// A checkpoint or an image that is missing or broken.
pub(crate) fn command(args: &PredictArgs, choice: Choice, output: &Output) -> Result<(), Failure> {
    let path = checkpoint::locate(&args.run)?;
    let checkpoint = checkpoint::load(&path)?;
    let [height, width, channels] = checkpoint.metadata.image;
    let shape = ImageShape { height, width, channels };
    let extents = [args.images.len(), height, width, channels];
    let bytes = extents.into_iter().fold(1, usize::saturating_mul);
    memory::check(bytes, "images of its size").with_context(|| path.display().to_string())?;
    let mut pixels = Vec::new();
    for image in &args.images {
        pixels.extend(load_image(image, shape)?);
    }
    let mut images = lfnn_data::Images::new(shape, pixels, vec![0; args.images.len()])?;
    let config = &checkpoint.metadata.config;
    if config.dataset.permute_pixels {
        permute_pixels(&mut images, config.seed);
    }
    let outputs = choice.run(
        Precision::F32,
        output,
        Predict { checkpoint: &checkpoint, images: &images, path: &path },
    )?;
    let top = if output.level() > crate::output::Level::Normal { TOP } else { 1 };
    let classes = &checkpoint.metadata.classes;
    let ranked: Vec<Vec<(&str, f32)>> = outputs.iter().map(|row| rank(row, classes)).collect();
    if args.json {
        let values: Vec<_> = args
            .images
            .iter()
            .zip(&ranked)
            .map(|(image, ranked)| {
                let all: serde_json::Map<String, _> =
                    ranked.iter().map(|(class, p)| ((*class).to_owned(), json!(p))).collect();
                let (class, probability) = ranked.first().copied().unwrap_or_default();
                json!({
                    "image": image.display().to_string(),
                    "class": class,
                    "probability": probability,
                    "probabilities": all,
                })
            })
            .collect();
        return output.result(&serde_json::to_string_pretty(&values)?);
    }
    let mut lines = Vec::new();
    for (image, ranked) in args.images.iter().zip(&ranked) {
        for (class, probability) in ranked.iter().take(top) {
            let percent = format!("{:.1} %", 100.0 * probability);
            lines.push(vec![image.display().to_string(), (*class).to_owned(), percent]);
        }
    }
    output.result(&table(&[Align::Left, Align::Left, Align::Right], &lines))
}

/// Classes with their probabilities, the most probable first.
fn rank<'a>(outputs: &[f32], classes: &'a [String]) -> Vec<(&'a str, f32)> {
    // A binary network has one output, the probability of the second class.
    let probabilities = match outputs {
        [p] if classes.len() == 2 => vec![1.0 - p, *p],
        all => all.to_vec(),
    };
    let mut ranked: Vec<(&str, f32)> =
        classes.iter().map(String::as_str).zip(probabilities).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked
}

struct Predict<'a> {
    checkpoint: &'a Checkpoint,
    images: &'a lfnn_data::Images,
    path: &'a Path,
}

impl Job for Predict<'_> {
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
        predict().map_err(of_checkpoint).map_err(|failure| match failure {
            Failure::Runtime(error) => {
                Failure::Runtime(error.context(self.path.display().to_string()))
            }
            other => other,
        })
    }
}
