//! What a network predicts on data: scores, the confusion matrix, and wrong examples as pictures.

use anyhow::{Context, anyhow};
use lfnn_core::score::{ClassScores, ValueScore};
use lfnn_data::{DataKind, Examples, ImageShape, Inputs, pixel_permutation};
use resvg::tiny_skia::Pixmap;

use crate::evaluation::{Evaluation, Scores};
use crate::failure::Result;
use crate::format;
use crate::page::{Cell, Page, Picture, Table};
use crate::scores::confusions;

/// The most classes whose confusion matrix is shown whole.
const MOST_CLASSES: usize = 20;
/// As many confusions of more classes are listed.
const MOST_CONFUSIONS: usize = 30;
/// As many wrong examples are shown.
const MOST_PICTURES: usize = 24;

/// Adds the scores of an evaluation, the confusion matrix and, of images, the most probable of the wrong predictions.
///
/// # Errors
/// Pictures that no memory holds.
pub(super) fn show(
    page: &mut Page,
    id: impl Fn(&str) -> String,
    evaluation: &Evaluation,
) -> Result {
    let Evaluation { checkpoint, chosen, scores, .. } = evaluation;
    let (names, epoch) = (checkpoint.metadata.model.names(), checkpoint.metadata.epoch);
    let data = format!("the {} data after epoch {epoch}", chosen.name).replace("data data", "data");
    match scores {
        Scores::None => {}
        Scores::Values(scores) => {
            page.table(&of_values(&id("scores"), &data, names.iter().zip(scores)));
        }
        Scores::Classes(scores) => {
            page.table(&of_classes(&id("scores"), &data, names, scores));
            page.table(&confusion(&id("confusion"), &data, names, scores));
            let pictures = wrong(evaluation, names)?;
            if !pictures.is_empty() {
                let caption = format!(
                    "The most probable of the wrong predictions on {data}: the class, and what was predicted."
                );
                page.pictures(&id("wrong"), &caption, &pictures);
            }
        }
    }
    Ok(())
}

/// Scores of numbers, each with its name.
pub(super) fn of_values<'a>(
    id: &str,
    data: &str,
    scores: impl Iterator<Item = (&'a String, &'a ValueScore)>,
) -> Table {
    let caption = format!("Predicted values on {data}, in the data's own units");
    let head = "value|mean squared error|mean absolute error|R²";
    let mut table = Table::new(id, &caption, head);
    for (name, score) in scores {
        let scores = [Some(score.mse), Some(score.mae), score.r2];
        let scores = scores.map(|value| value.map_or(Cell::Empty, |value| Cell::Number(value, 4)));
        table.rows.push([name.as_str().into()].into_iter().chain(scores).collect());
    }
    table
}

fn of_classes(id: &str, data: &str, names: &[String], scores: &ClassScores) -> Table {
    let ClassScores { error, top5_error, f1, auc, calibration_error, .. } = scores;
    let mut sums = vec![format!("error {error:.2} %"), format!("F1 {f1:.4}")];
    sums.extend(auc.map(|auc| format!("AUC {auc:.4}")));
    sums.extend(top5_error.map(|error| format!("top-5 error {error:.2} %")));
    sums.push(format!("calibration error {calibration_error:.4}"));
    let caption = format!("Predicted classes on {data}: {}", sums.join(", "));
    let mut table = Table::new(id, &caption, "class|examples|error, %|precision|recall|F1");
    for (name, score) in names.iter().zip(&scores.classes) {
        let mut row =
            vec![name.as_str().into(), Cell::count(score.examples), Cell::maybe(score.error)];
        row.extend([score.precision, score.recall, score.f1].map(|share| Cell::Number(share, 4)));
        table.rows.push(row);
    }
    table
}

/// The confusion matrix; of many classes, the most frequent confusions.
fn confusion(id: &str, data: &str, names: &[String], scores: &ClassScores) -> Table {
    if names.len() <= MOST_CLASSES {
        let caption =
            format!("Examples of each class (row) by the predicted class (column), on {data}");
        let mut table = Table::new(id, &caption, "class");
        table.head.extend(names.iter().cloned());
        for (name, counts) in names.iter().zip(&scores.confusion) {
            let counts = counts.iter().map(|&count| Cell::count(count));
            table.rows.push(std::iter::once(name.as_str().into()).chain(counts).collect());
        }
        return table;
    }
    let caption = format!("The most frequent confusions on {data}");
    let mut table = Table::new(id, &caption, "class|predicted|examples");
    for (count, class, predicted) in confusions(&scores.confusion).into_iter().take(MOST_CONFUSIONS)
    {
        let names = [class, predicted].map(|class| names[class].as_str().into());
        table.rows.push(names.into_iter().chain([Cell::count(count)]).collect());
    }
    table
}

/// Wrong examples as pictures, the most probable predictions first; none of examples that are no pictures.
fn wrong(evaluation: &Evaluation, names: &[String]) -> anyhow::Result<Vec<Picture>> {
    let Evaluation { checkpoint, chosen, probabilities, .. } = evaluation;
    let (examples, config) = (&chosen.examples, &checkpoint.metadata.config);
    let ImageShape { height, width, channels } = examples.shape;
    let is_picture = height > 1 && width > 1 && [1, 3].contains(&channels);
    if chosen.kind == DataKind::Table || !is_picture {
        return Ok(Vec::new());
    }
    let labels = examples.labels();
    let mut wrong: Vec<(f32, u32, usize)> = Vec::new();
    for (&at, row) in chosen.indices.iter().zip(probabilities) {
        let best = ClassScores::predicted(row);
        if best != labels[at as usize] as usize {
            wrong.push((row[best], at, best));
        }
    }
    wrong.sort_by(|one, other| other.0.total_cmp(&one.0));
    let positions = examples.shape.positions() as u32;
    let permutation =
        config.dataset.permute_pixels.then(|| pixel_permutation(positions, config.seed));
    let picture = |(probability, at, predicted): (f32, u32, usize)| {
        let class = &names[labels[at as usize] as usize];
        let percent = format::percent(Some(100.0 * f64::from(probability)));
        Ok(Picture {
            png: png(examples, at as usize, permutation.as_deref())?,
            caption: format!("{class} → {} {percent}", names[predicted]),
        })
    };
    wrong.into_iter().take(MOST_PICTURES).map(picture).collect()
}

/// An example as a PNG file, its pixels where they were before a permutation.
fn png(examples: &Examples, at: usize, permutation: Option<&[u32]>) -> anyhow::Result<Vec<u8>> {
    let ImageShape { height, width, channels } = examples.shape;
    let values = examples.shape.values();
    let range = at * values..(at + 1) * values;
    let pixels = match &examples.inputs {
        Inputs::Bytes(bytes) => bytes[range].to_vec(),
        Inputs::Reals(reals) => stretched(&reals[range]),
    };
    let side = |side: usize| u32::try_from(side).context("a picture too large for PNG");
    let mut map = Pixmap::new(side(width)?, side(height)?).context("no memory for a picture")?;
    for (position, pixel) in pixels.chunks_exact(channels).enumerate() {
        let to = permutation.map_or(position, |order| order[position] as usize);
        let [red, green, blue] = match *pixel {
            [grey] => [grey; 3],
            [red, green, blue, ..] => [red, green, blue],
            _ => [0; 3],
        };
        map.data_mut()[4 * to..4 * to + 4].copy_from_slice(&[red, green, blue, u8::MAX]);
    }
    map.encode_png().map_err(|error| anyhow!("cannot write PNG: {error}"))
}

/// Real numbers as bytes, from the lowest of a picture to the highest: all its differences can be seen.
fn stretched(reals: &[f32]) -> Vec<u8> {
    let low = reals.iter().copied().fold(f32::INFINITY, f32::min);
    let high = reals.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
    reals.iter().map(|value| ((value - low) * scale).round() as u8).collect()
}
