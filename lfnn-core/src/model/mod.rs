//! A trained network that can be kept: what it is, and its tensors.
//!
//! A [`Model`] is written to and read from one safetensors file. [`Predictor`](crate::train::Predictor) uses it on a
//! device, and [`Trainer::restore`](crate::train::Trainer::restore) carries its training on.

mod error;
pub mod file;
pub mod tensors;

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use error::ModelError;

use crate::config::{NetworkConfig, Task};
use crate::data::{DataError, Inputs};
use crate::method::{self, Workers};
use crate::program::Role;
use crate::train::{DataLayout, State};

/// A trained network.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What it is.
    pub description: ModelDescription,
    /// Its tensors: parameters, running statistics and the normalisation of its inputs; of a training that is to be
    /// resumed also the optimiser's and the step counter.
    pub state: State,
}

/// What a trained network is, without its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDescription {
    /// The network.
    pub network: NetworkConfig,
    /// The name of the method that trained it.
    pub method: String,
    /// Height, width and channels of an input: `[1, 1, features]` of a table.
    pub input: [usize; 3],
    /// What its inputs are made of.
    pub elements: InputElements,
    /// What it predicts.
    pub target: ModelTarget,
    /// How its inputs are made of somebody's data: whatever the program that trained it wants to keep.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub preprocessing: Value,
}

/// What inputs are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputElements {
    /// Bytes, which stand for numbers from 0 to 1.
    Bytes,
    /// Real numbers, which stand for themselves.
    Reals,
}

/// What a network predicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelTarget {
    /// One of these classes.
    Classes {
        /// Their names, in the order of the labels.
        names: Vec<String>,
    },
    /// Numbers. The network predicts them standardised.
    Values {
        /// Their names.
        names: Vec<String>,
        /// Mean of each.
        mean: Vec<f32>,
        /// Standard deviation of each.
        std: Vec<f32>,
    },
}

impl InputElements {
    /// Its name, for messages.
    fn name(self) -> &'static str {
        match self {
            InputElements::Bytes => "bytes",
            InputElements::Reals => "real numbers",
        }
    }
}

impl ModelTarget {
    /// Names of the classes or numbers.
    pub fn names(&self) -> &[String] {
        match self {
            ModelTarget::Classes { names } | ModelTarget::Values { names, .. } => names,
        }
    }

    /// Numbers to predict, `[examples, values]`, as the network learns them: each less its mean and divided by its
    /// deviation. Empty where classes are predicted.
    pub fn standardize(&self, values: &[f32]) -> Vec<f32> {
        let ModelTarget::Values { mean, std, .. } = self else { return Vec::new() };
        let scales = mean.iter().zip(std).cycle();
        let scaled = |(&value, (&mean, &std)): (&f32, (&f32, &f32))| {
            ((f64::from(value) - f64::from(mean)) / f64::from(std)) as f32
        };
        values.iter().zip(scales).map(scaled).collect()
    }

    /// A row of the network's outputs as the user's prediction: probabilities of all classes, or numbers in their own
    /// units.
    pub fn prediction(&self, outputs: &[f32]) -> Vec<f32> {
        match (self, outputs) {
            // A binary network has one output, the probability of the second class.
            (ModelTarget::Classes { names }, &[p]) if names.len() == 2 => vec![1.0 - p, p],
            (ModelTarget::Classes { .. }, outputs) => outputs.to_vec(),
            (ModelTarget::Values { mean, std, .. }, outputs) => outputs
                .iter()
                .zip(mean.iter().zip(std))
                .map(|(x, (mean, std))| x * std + mean)
                .collect(),
        }
    }
}

impl ModelDescription {
    /// Names of the classes (of the numbers that are predicted, in regression).
    pub fn names(&self) -> &[String] {
        self.target.names()
    }

    /// The layout of so many inputs.
    pub fn layout(&self, count: usize) -> DataLayout {
        let layout = DataLayout::of_bytes(self.input, self.names().len(), count);
        match self.elements {
            InputElements::Bytes => layout,
            InputElements::Reals => DataLayout { dtype: crate::program::DType::Real, ..layout },
        }
    }

    /// Whether the heads of the workers were trained, so that workers predict.
    pub fn workers_predict(&self) -> bool {
        method::by_name(&self.method).is_none_or(|method| method.workers != Workers::Untrained)
    }

    /// Checks that the network takes these inputs.
    pub(crate) fn check(&self, inputs: &Inputs<'_>) -> Result<(), DataError> {
        let (found, expected) = (inputs.shape(), self.input);
        if found != expected {
            return Err(DataError::Shape { found, expected });
        }
        let (found, expected) = (inputs.pixels().elements(), self.elements);
        if found != expected {
            return Err(DataError::ElementType { found: found.name(), expected: expected.name() });
        }
        inputs.validate()
    }

    /// Checks that the task fits what is predicted.
    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        let is_regression = self.network.task == Task::Regression;
        match &self.target {
            ModelTarget::Classes { .. } if is_regression => {
                Err(ModelError::Description("a regression that predicts classes".into()))
            }
            ModelTarget::Values { .. } if !is_regression => {
                Err(ModelError::Description("a classification that predicts numbers".into()))
            }
            ModelTarget::Values { names, mean, std }
                if [mean.len(), std.len()] != [names.len(); 2]
                    || !mean.iter().chain(std).all(|x| x.is_finite()) =>
            {
                let message = "another number of means or deviations than of predicted numbers";
                Err(ModelError::Description(message.into()))
            }
            _ => Ok(()),
        }
    }
}

impl Model {
    /// Writes it as one safetensors file, with a checksum. Equal models are equal bytes.
    ///
    /// ```no_run
    /// # fn save(model: &lfnn_core::model::Model) -> Result<(), lfnn_core::model::ModelError> {
    /// model.write(std::fs::File::create("cancer.safetensors")?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the writer fails with, or a layer of the program's own, which no file holds: keep the [`state`](Self::state)
    /// then.
    pub fn write(&self, mut to: impl Write) -> Result<(), ModelError> {
        to.write_all(&file::encode(&self.description, &self.state, Map::new())?)?;
        Ok(to.flush()?)
    }

    /// Reads what [`write`](Self::write) wrote, or a checkpoint of `lfnn-cli`.
    ///
    /// # Errors
    /// What the reader fails with; a file that is no model, was damaged, or holds a number that is not finite.
    pub fn read(mut from: impl Read) -> Result<Self, ModelError> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        Ok(file::decode(&bytes)?.0)
    }

    /// The model without what only training needs: smaller, and no longer to be resumed.
    #[must_use]
    pub fn without_training(mut self) -> Self {
        let is_kept = |name: &str| match Role::of_saved(name) {
            Some(role) => role.is_of_network() || role == Role::Normalization,
            None => false,
        };
        self.state.tensors.retain(|tensor| is_kept(&tensor.name));
        self
    }
}
