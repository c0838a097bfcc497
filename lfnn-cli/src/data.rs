//! A data set as the core takes it: one array of images, lists of indices, and statistics.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use lfnn_core::model::{ModelDescription, ModelTarget};
use lfnn_core::train::{Images, Labels, Normalization, Setup};
use lfnn_data::{
    Counted, Dataset, DatasetSize, ImageShape, Note, Source, Update, channel_statistics, hold_out,
    permute_pixels,
};

use crate::cli::DataFolder;
use crate::config::{DatasetConfig, RunConfig};
use crate::failure::{Failure, Usage};
use crate::output::{Level, Output};

/// A data set in memory.
#[derive(Debug)]
pub(crate) struct LoadedData {
    /// Training images, then test images.
    pixels: Vec<u8>,
    labels: Vec<u32>,
    shape: [usize; 3],
    /// Names of the classes.
    pub(crate) classes: Vec<String>,
    /// Indices of the images to train on.
    pub(crate) train: Vec<u32>,
    /// Indices of the images held out.
    pub(crate) validation: Vec<u32>,
    /// Indices of the test images.
    pub(crate) test: Vec<u32>,
    /// Mean and standard deviation of the images to train on.
    pub(crate) normalization: Normalization,
}

impl LoadedData {
    /// Loads the data set of a configuration.
    ///
    /// # Errors
    /// Data that is missing or broken, or settings that do not fit it.
    pub(crate) fn load(config: &RunConfig, root: &Path, output: &Output) -> Result<Self, Failure> {
        let progress = DataProgress::new(output);
        let loaded = Dataset::load(&source(&config.dataset), root, &|update: &Update<'_>| {
            progress.show(update);
        });
        progress.clear();
        let Dataset { mut train, mut test, classes, notes, .. } = loaded?;
        print_notes(&notes, output);
        if config.dataset.permute_pixels {
            permute_pixels(&mut train, config.seed);
            permute_pixels(&mut test, config.seed);
        }
        let split = hold_out(&train.labels, config.dataset.validation, config.seed)?;
        let statistics = channel_statistics(&train, &split.train)?;
        let ImageShape { height, width, channels } = train.shape;
        let first = train.len() as u32;
        let test_indices = (first..first + test.len() as u32).collect();
        let (mut pixels, mut labels) = (train.pixels, train.labels);
        pixels.append(&mut test.pixels);
        labels.append(&mut test.labels);
        Ok(Self {
            pixels,
            labels,
            shape: [height, width, channels],
            classes,
            train: split.train,
            validation: split.validation,
            test: test_indices,
            normalization: Normalization { mean: statistics.mean, std: statistics.std },
        })
    }

    /// The images, as the core takes them.
    pub(crate) fn images(&self) -> Images<'_> {
        Images {
            pixels: (&self.pixels).into(),
            labels: Labels::Classes(&self.labels),
            shape: self.shape,
            classes: self.classes.len(),
        }
    }

    /// The model that is trained on them.
    pub(crate) fn model(&self, setup: &Setup<'_>) -> ModelDescription {
        let target = ModelTarget::Classes { names: self.classes.clone() };
        ModelDescription { target, ..self.images().describe(setup) }
    }

    /// The pixels of all images.
    pub(crate) fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The class of every image.
    pub(crate) fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Frees the pixels, once the backend has them.
    pub(crate) fn drop_host_images(&mut self) {
        self.pixels = Vec::new();
    }
}

/// Prints what a user may not expect of a data set.
pub(crate) fn print_notes(notes: &[Note], output: &Output) {
    if output.level() >= Level::Normal {
        notes.iter().for_each(|note| output.note(&format!("note: {note}")));
    }
}

/// The data set of a configuration, as the data crate takes it.
fn source(config: &DatasetConfig) -> Source {
    Source {
        name: config.name,
        path: config.path.clone(),
        image_size: config.image_size.map(|[height, width]| (height, width)),
    }
}

/// What is known of a data set without its files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataShape {
    /// Height, width, channels.
    pub(crate) image: [usize; 3],
    /// Number of classes.
    pub(crate) classes: usize,
    /// Number of training images, those held out included.
    pub(crate) train: usize,
    /// Number of test images.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only a GPU holds test images"))]
    pub(crate) test: usize,
}

impl DataShape {
    /// Shape, classes and size of a data set. An image folder must be there, all others need not.
    ///
    /// # Errors
    /// An image folder that cannot be read.
    pub(crate) fn of(config: &RunConfig, root: &Path, output: &Output) -> Result<Self, Failure> {
        if let Some(DatasetSize { shape, classes, train, test }) = config.dataset.name.size() {
            let image = [shape.height, shape.width, shape.channels];
            return Ok(Self { image, classes, train, test });
        }
        let data = LoadedData::load(config, root, output)?;
        let train = data.train.len() + data.validation.len();
        Ok(Self { image: data.shape, classes: data.classes.len(), train, test: data.test.len() })
    }
}

/// The folder of the data sets: the one given, or the user's cache folder.
///
/// # Errors
/// A user without a home.
pub(crate) fn root(given: &DataFolder) -> Result<PathBuf, Failure> {
    if let Some(given) = &given.data_dir {
        return Ok(given.clone());
    }
    directories::ProjectDirs::from("", "", "lfnn")
        .map(|folders| folders.cache_dir().to_owned())
        .context("no cache folder is known for this user; --data-dir names one")
        .usage()
}

/// Long work on data, shown as a bar on a terminal and not at all in a pipe.
#[derive(Debug)]
pub(crate) struct DataProgress<'a> {
    output: &'a Output,
    bar: Mutex<Option<(String, ProgressBar)>>,
}

impl<'a> DataProgress<'a> {
    /// Nothing is shown yet.
    pub(crate) fn new(output: &'a Output) -> Self {
        Self { output, bar: Mutex::new(None) }
    }

    /// Shows an update.
    pub(crate) fn show(&self, update: &Update<'_>) {
        let Some(bars) = self.output.bars() else { return };
        let Ok(mut shown) = self.bar.lock() else { return };
        let bar = match &*shown {
            Some((what, bar)) if what == update.what => bar,
            _ => {
                if let Some((_, old)) = shown.take() {
                    old.finish_and_clear();
                }
                let bar = bars.add(ProgressBar::new(update.total));
                let counts = match update.counted {
                    Counted::Bytes => {
                        "{binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}"
                    }
                    Counted::Images | Counted::Files => "{human_pos} of {human_len}, {per_sec}",
                };
                let template = format!("{{msg}} {{wide_bar}} {counts}, {{eta}} left");
                if let Ok(style) = ProgressStyle::with_template(&template) {
                    bar.set_style(style);
                }
                bar.set_message(update.what.to_owned());
                &shown.insert((update.what.to_owned(), bar)).1
            }
        };
        // Reports of several threads may come out of order.
        if update.done > bar.position() {
            bar.set_position(update.done);
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Ok(mut shown) = self.bar.lock()
            && let Some((_, bar)) = shown.take()
        {
            bar.finish_and_clear();
        }
    }
}
