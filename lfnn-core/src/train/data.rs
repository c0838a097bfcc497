//! Examples as the trainer takes them, and how a step turns them into a batch.

use std::ops::Range;

use crate::backend::{BackendError, Executable, TensorData};
use crate::config::{Augmentation, ConfigError};
use crate::model::{InputElements, ModelDescription, ModelTarget};
use crate::program::{
    Augment, DType, LoadImages, LoadLabels, LoadValues, ProgramSet, Role, TensorId,
};
use crate::random::{Purpose, Stream};
use crate::step::StepBuilder;

use super::error::TrainError;
use super::setup::Setup;

/// Labelled examples: the training, validation and test examples of a data set in one array, told
/// apart by their indices. A table is an array of images of one pixel, with a channel for each
/// feature; a signal is an image of one row.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// `[images, height, width, channels]`.
    pub pixels: Pixels<'a>,
    /// What is to be predicted of each.
    pub labels: Labels<'a>,
    /// `[height, width, channels]`.
    pub shape: [usize; 3],
    /// Number of classes (of numbers to predict, in regression).
    pub classes: usize,
}

/// The numbers of a data set, as they are on the device.
#[derive(Clone, Copy, Debug)]
pub enum Pixels<'a> {
    /// Bytes, which stand for numbers from 0 to 1.
    Bytes(&'a [u8]),
    /// Real numbers, which stand for themselves.
    Reals(&'a [f32]),
}

impl Pixels<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Pixels::Bytes(bytes) => bytes.len(),
            Pixels::Reals(reals) => reals.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the elements on the device.
    pub fn dtype(&self) -> DType {
        match self {
            Pixels::Bytes(_) => DType::U8,
            Pixels::Reals(_) => DType::Real,
        }
    }

    /// What they are.
    pub(crate) fn elements(&self) -> InputElements {
        match self {
            Pixels::Bytes(_) => InputElements::Bytes,
            Pixels::Reals(_) => InputElements::Reals,
        }
    }

    /// The number that an element stands for.
    pub fn value(&self, index: usize) -> f32 {
        match self {
            Pixels::Bytes(bytes) => f32::from(bytes[index]) / 255.0,
            Pixels::Reals(reals) => reals[index],
        }
    }
}

impl<'a> From<&'a [u8]> for Pixels<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Pixels::Bytes(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Pixels<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Pixels::Bytes(bytes)
    }
}

impl<'a> From<&'a [f32]> for Pixels<'a> {
    fn from(reals: &'a [f32]) -> Self {
        Pixels::Reals(reals)
    }
}

/// A data set without its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataLayout {
    /// `[height, width, channels]`.
    pub shape: [usize; 3],
    /// Number of classes (of numbers to predict, in regression).
    pub classes: usize,
    /// Number of examples.
    pub count: usize,
    /// The type of the stored numbers: `U8` or `Real`.
    pub dtype: DType,
}

impl DataLayout {
    /// Images of bytes.
    pub fn of_bytes(shape: [usize; 3], classes: usize, count: usize) -> Self {
        Self { shape, classes, count, dtype: DType::U8 }
    }
}

/// What is to be predicted of each image.
#[derive(Clone, Copy, Debug)]
pub enum Labels<'a> {
    /// Its class, `[images]`, each below the number of classes.
    Classes(&'a [u32]),
    /// Numbers, `[images, classes]`: a regression.
    Values(&'a [f32]),
}

impl Images<'_> {
    /// Number of images.
    pub fn count(&self) -> usize {
        match self.labels {
            Labels::Classes(labels) => labels.len(),
            Labels::Values(values) => values.len() / self.classes.max(1),
        }
    }

    /// Shape, number and type of the examples.
    pub fn layout(&self) -> DataLayout {
        let (shape, classes, count) = (self.shape, self.classes, self.count());
        DataLayout { shape, classes, count, dtype: self.pixels.dtype() }
    }

    /// The network that is trained on them, its classes or numbers without names.
    pub fn describe(&self, setup: &Setup<'_>) -> ModelDescription {
        let names: Vec<String> = (0..self.classes).map(|class| class.to_string()).collect();
        let target = match self.labels {
            Labels::Classes(_) => ModelTarget::Classes { names },
            Labels::Values(_) => ModelTarget::Values {
                mean: vec![0.0; names.len()],
                std: vec![1.0; names.len()],
                names,
            },
        };
        ModelDescription {
            network: setup.network.clone(),
            method: setup.method.name.to_owned(),
            input: self.shape,
            elements: self.pixels.elements(),
            target,
            preprocessing: serde_json::Value::Null,
        }
    }

    /// Checks lengths, values and labels; `takes_labels` says which kind of labels the task needs.
    pub(super) fn validate(&self, takes_labels: bool) -> Result<(), TrainError> {
        let images = self.count();
        let length =
            self.shape.iter().try_fold(images, |length, &extent| length.checked_mul(extent));
        if images == 0 || length != Some(self.pixels.len()) {
            let (found, shape) = (self.pixels.len(), self.shape);
            return Err(TrainError::ImageValues { found, images, shape });
        }
        let not_finite = |values: &[f32]| values.iter().position(|value| !value.is_finite());
        if let Pixels::Reals(values) = self.pixels
            && let Some(at) = not_finite(values)
        {
            let image = at / (values.len() / images);
            return Err(TrainError::InputNotFinite { image, value: values[at] });
        }
        if let Labels::Values(values) = self.labels
            && let Some(at) = not_finite(values)
        {
            let image = at / self.classes.max(1);
            return Err(TrainError::TargetNotFinite { image, value: values[at] });
        }
        match self.labels {
            Labels::Classes(_) if !takes_labels => Err(TrainError::ClassesInRegression),
            Labels::Values(_) if takes_labels => Err(TrainError::NumbersInClassification),
            Labels::Values(_) => Ok(()),
            Labels::Classes(labels) => check_labels(labels, self.classes),
        }
    }
}

/// That each label is a class.
pub(crate) fn check_labels(labels: &[u32], classes: usize) -> Result<(), TrainError> {
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(example) => Err(TrainError::Label { example, label: labels[example], classes }),
        None => Ok(()),
    }
}

impl Augmentation {
    fn operation(self) -> Option<Augment> {
        let Self { crop_padding: padding, flip, cutout } = self;
        let stream = Stream::new(Purpose::Augment, 0);
        (self != Self::default()).then_some(Augment { padding, flip, cutout, stream })
    }
}

/// Mean and standard deviation per channel, of the numbers that [`Pixels`] stand for. They are part of a
/// saved state.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// Mean.
    pub mean: Vec<f32>,
    /// Standard deviation.
    pub std: Vec<f32>,
}

impl Normalization {
    /// Checks that there is a mean and a standard deviation for each channel, and that a pixel can be
    /// divided by them.
    pub(super) fn validate(&self, channels: usize) -> Result<(), ConfigError> {
        let fail =
            |key: &str, message| Err(ConfigError::new(format!("normalization.{key}"), message));
        for (key, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != channels {
                let found = values.len();
                return fail(
                    key,
                    format!("{found} numbers, expected {channels}: one for each channel"),
                );
            }
        }
        if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return fail("mean", format!("{mean}, expected a finite number"));
        }
        if let Some(std) = self.std.iter().find(|std| !(std.is_normal() && **std > 0.0)) {
            return fail("std", format!("{std}, expected a finite number above 0"));
        }
        Ok(())
    }

    /// Factor and summand per channel.
    pub(super) fn affine(&self) -> (Vec<f32>, Vec<f32>) {
        let scale: Vec<f32> = self.std.iter().map(|std| 1.0 / std).collect();
        let shift = self.mean.iter().zip(&scale).map(|(mean, scale)| -mean * scale).collect();
        (scale, shift)
    }
}

/// The data set's tensors in a program set.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataTensors {
    pixels: TensorId,
    labels: TensorId,
    scale: TensorId,
    shift: TensorId,
    shape: [usize; 3],
    values: Option<usize>,
}

impl DataTensors {
    /// `values` is the number of numbers to predict in a regression.
    pub(super) fn declare(set: &mut ProgramSet, layout: DataLayout, values: Option<usize>) -> Self {
        let DataLayout { shape, count: images, dtype, .. } = layout;
        let [height, width, channels] = shape;
        let labels = match values {
            None => set.declare(Role::Data, "labels", DType::U32, &[images]),
            Some(n) => set.declare(Role::Data, "values", DType::Real, &[images, n]),
        };
        let mut normalization =
            |name: &str| set.declare(Role::Normalization, name, DType::Real, &[channels]);
        let (scale, shift) = (normalization("scale"), normalization("shift"));
        let pixel_shape = [images, height, width, channels];
        Self {
            pixels: set.declare(Role::Data, "pixels", dtype, &pixel_shape),
            labels,
            scale,
            shift,
            shape,
            values,
        }
    }

    /// Writes the operations that make a batch; gives the images and their labels.
    pub(super) fn load(
        &self,
        step: &mut StepBuilder<'_>,
        order: TensorId,
        augmentation: Augmentation,
    ) -> (TensorId, TensorId) {
        let x = self.load_images(step, order, augmentation);
        let (counter, batch, labels) = (step.counter(), step.batch(), self.labels);
        let target = match self.values {
            None => {
                let target = step.temporary("labels", DType::U32, &[batch]);
                step.push(LoadLabels { labels, order, counter, target });
                target
            }
            Some(n) => {
                let target = step.real("values", &[batch, n]);
                step.push(LoadValues { values: labels, order, counter, target });
                target
            }
        };
        (x, target)
    }

    /// Writes the operation that makes a batch of images, without their labels.
    pub(super) fn load_images(
        &self,
        step: &mut StepBuilder<'_>,
        order: TensorId,
        augmentation: Augmentation,
    ) -> TensorId {
        let counter = step.counter();
        let x = step.activation("images", &self.shape);
        let Self { pixels, scale, shift, .. } = *self;
        let augment = augmentation.operation();
        step.push(LoadImages { pixels, order, counter, scale, shift, x, augment });
        x
    }

    pub(super) fn upload_images(
        &self,
        executable: &mut dyn Executable,
        images: Images<'_>,
    ) -> Result<(), BackendError> {
        let pixels = match images.pixels {
            Pixels::Bytes(bytes) => TensorData::U8(bytes),
            Pixels::Reals(reals) => TensorData::Real(reals),
        };
        executable.upload(self.pixels, pixels)?;
        let labels = match images.labels {
            Labels::Classes(labels) => TensorData::U32(labels),
            Labels::Values(values) => TensorData::Real(values),
        };
        executable.upload(self.labels, labels)
    }

    /// Uploads these rows of the images to the first places of the data on the device, which has `places` of them, and
    /// their labels if there are any.
    pub(super) fn upload_rows(
        &self,
        executable: &mut dyn Executable,
        images: Images<'_>,
        rows: Range<usize>,
        places: usize,
    ) -> Result<(), BackendError> {
        fn padded<T: Copy + Default>(
            all: &[T],
            each: usize,
            rows: &Range<usize>,
            places: usize,
        ) -> Vec<T> {
            let mut part = all[rows.start * each..rows.end * each].to_vec();
            part.resize(places * each, T::default());
            part
        }
        let size = self.shape.iter().product();
        match images.pixels {
            Pixels::Bytes(all) => {
                let part = padded(all, size, &rows, places);
                executable.upload(self.pixels, TensorData::U8(&part))?;
            }
            Pixels::Reals(all) => {
                let part = padded(all, size, &rows, places);
                executable.upload(self.pixels, TensorData::Real(&part))?;
            }
        }
        match images.labels {
            Labels::Classes([]) | Labels::Values([]) => Ok(()),
            Labels::Classes(all) => {
                let part = padded(all, 1, &rows, places);
                executable.upload(self.labels, TensorData::U32(&part))
            }
            Labels::Values(all) => {
                let part = padded(all, images.classes, &rows, places);
                executable.upload(self.labels, TensorData::Real(&part))
            }
        }
    }

    pub(super) fn upload_normalization(
        &self,
        executable: &mut dyn Executable,
        normalization: &Normalization,
    ) -> Result<(), BackendError> {
        let (scale, shift) = normalization.affine();
        executable.upload(self.scale, TensorData::Real(&scale))?;
        executable.upload(self.shift, TensorData::Real(&shift))
    }
}
