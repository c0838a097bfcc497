//! A user's own data, as ndarray's views: features, signals or images, with classes or values to predict.
//!
//! A [`Dataset`] is a choice of rows of arrays that it borrows where their layout allows. Parts of one data set share
//! the arrays, so that a [`Trainer`](crate::train::Trainer) that holds one part can evaluate another.

mod inputs;
mod split;
mod statistics;

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{ArrayView1, ArrayView2};
use thiserror::Error;

pub use inputs::Inputs;
pub use split::{Split, hold_out};

use crate::model::ModelTarget;
use crate::train::{Images, Labels, Normalization, Pixels};
use inputs::Elements;

/// Data that cannot be used.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum DataError {
    /// Fewer or more targets than examples.
    #[error("{targets} targets for {examples} examples, expected one for each")]
    Targets {
        /// The targets.
        targets: usize,
        /// The examples.
        examples: usize,
    },
    /// A number that is infinite or not a number.
    #[error("{what} {index} of example {example} is {value}, expected a finite number")]
    NotFinite {
        /// What it is: a feature or a target.
        what: &'static str,
        /// Its position in the example, from 0.
        index: usize,
        /// The example, from 0.
        example: usize,
        /// The number.
        value: f32,
    },
    /// A class that has no name.
    #[error("example {example} has class {class}, expected below {classes}")]
    Class {
        /// The example, from 0.
        example: usize,
        /// Its class.
        class: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// Inputs of another shape than the others.
    #[error("inputs of shape {found:?}, expected {expected:?} (height, width, channels)")]
    Shape {
        /// Height, width and channels of the inputs.
        found: [usize; 3],
        /// Those expected.
        expected: [usize; 3],
    },
    /// Numbers that are not a whole number of examples.
    #[error("{found} numbers are not a whole number of inputs of shape {shape:?}")]
    Elements {
        /// How many numbers there are.
        found: usize,
        /// Height, width and channels of an example.
        shape: [usize; 3],
    },
    /// Bytes where real numbers are expected, or the other way round.
    #[error("inputs of {found}, expected {expected}, as in training")]
    ElementType {
        /// What was given.
        found: &'static str,
        /// What the model was trained on.
        expected: &'static str,
    },
    /// A row that is not there.
    #[error("row {row} of {rows}: expected an index below {rows}")]
    Row {
        /// The index.
        row: u32,
        /// How many rows there are.
        rows: usize,
    },
    /// Nothing to work with, or more than can be counted.
    #[error("{0} examples, expected 1 to 2³² − 1")]
    Count(usize),
    /// A share to hold out that is none.
    #[error("a share of {0}, expected a number between 0 and 1")]
    Share(f64),
    /// A share that leaves one part empty.
    #[error("a share of {share} of {examples} examples leaves one part empty")]
    EmptyPart {
        /// The share to be held out.
        share: f64,
        /// The examples.
        examples: usize,
    },
    /// Another number of names than of what they name.
    #[error("{names} names, expected {expected}: one for each {what}")]
    Names {
        /// The names.
        names: usize,
        /// What is named.
        expected: usize,
        /// What that is.
        what: &'static str,
    },
}

/// What is to be predicted, with its names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// Classes by name.
    Classes(Vec<String>),
    /// Numbers by name.
    Values(Vec<String>),
}

/// The arrays that the parts of a data set share.
#[derive(Clone, Debug)]
struct Storage<'a> {
    /// A number that no other data set of this process has.
    identity: u64,
    inputs: Inputs<'a>,
    /// `[examples]`, of a classification.
    labels: Vec<u32>,
    /// `[examples, values]`, of a regression.
    values: Vec<f32>,
    target: Target,
}

/// Examples with what is to be predicted of them.
///
/// ```
/// use lfnn_core::data::Dataset;
/// use ndarray::{Array1, Array2};
///
/// let features = Array2::from_shape_fn((100, 4), |(row, column)| (row * column) as f32);
/// let labels = Array1::from_shape_fn(100, |row| (row % 2) as u32);
/// let data = Dataset::classification(features.view(), labels.view())?;
/// // A fifth of each class is held out.
/// let (train, test) = data.split(0.2, 7)?;
/// assert_eq!((train.len(), test.len()), (80, 20));
/// # Ok::<(), lfnn_core::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dataset<'a> {
    storage: Rc<Storage<'a>>,
    rows: Vec<u32>,
}

fn next_identity() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl<'a> Dataset<'a> {
    /// Examples with their classes, which are counted from 0. There are as many classes as the largest label says.
    ///
    /// # Errors
    /// No examples, a number that is not finite, or not one label for each example.
    pub fn classification(
        inputs: impl Into<Inputs<'a>>,
        labels: ArrayView1<'_, u32>,
    ) -> Result<Self, DataError> {
        let classes = labels.iter().max().map_or(0, |&largest| largest as usize + 1);
        let names = (0..classes.max(2)).map(|class| class.to_string()).collect();
        let labels = labels.to_vec();
        Self::new(inputs.into(), labels.len(), labels, Vec::new(), Target::Classes(names))
    }

    /// Examples with the numbers to predict, `[examples, values]`.
    ///
    /// # Errors
    /// No examples, a number that is not finite, or not one row of values for each example.
    pub fn regression(
        inputs: impl Into<Inputs<'a>>,
        values: ArrayView2<'_, f32>,
    ) -> Result<Self, DataError> {
        let names = (0..values.ncols()).map(|value| value.to_string()).collect();
        let flat: Vec<f32> = values.iter().copied().collect();
        if let Some(at) = flat.iter().position(|value| !value.is_finite()) {
            let (example, index, value) = (at / values.ncols(), at % values.ncols(), flat[at]);
            return Err(DataError::NotFinite { what: "target", index, example, value });
        }
        Self::new(inputs.into(), values.nrows(), Vec::new(), flat, Target::Values(names))
    }

    fn new(
        inputs: Inputs<'a>,
        targets: usize,
        labels: Vec<u32>,
        values: Vec<f32>,
        target: Target,
    ) -> Result<Self, DataError> {
        let examples = inputs.len();
        if targets != examples {
            return Err(DataError::Targets { targets, examples });
        }
        inputs.validate()?;
        let count = u32::try_from(examples).ok().filter(|&count| count > 0);
        let count = count.ok_or(DataError::Count(examples))?;
        let storage =
            Rc::new(Storage { identity: next_identity(), inputs, labels, values, target });
        Ok(Self { storage, rows: (0..count).collect() })
    }

    /// The same with names for the classes (of the numbers to predict, in regression). A class may have no example.
    ///
    /// # Errors
    /// Fewer names than classes, or not one for each number.
    pub fn named<S: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Self, DataError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let Storage { labels, target, .. } = &*self.storage;
        let target = match target {
            Target::Classes(_) => {
                let classes = names.len();
                let unnamed = |&label: &u32| label as usize >= classes;
                if let Some(example) = labels.iter().position(unnamed) {
                    return Err(DataError::Class { example, class: labels[example], classes });
                }
                Target::Classes(names)
            }
            Target::Values(old) if old.len() != names.len() => {
                let (names, expected) = (names.len(), old.len());
                return Err(DataError::Names { names, expected, what: "number to predict" });
            }
            Target::Values(_) => Target::Values(names),
        };
        // The arrays are copied only where other parts share them.
        let storage = Rc::unwrap_or_clone(self.storage);
        self.storage = Rc::new(Storage { identity: next_identity(), target, ..storage });
        Ok(self)
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Names of the classes (of the numbers to predict, in regression).
    pub fn names(&self) -> &[String] {
        match &self.storage.target {
            Target::Classes(names) | Target::Values(names) => names,
        }
    }

    /// The classes of the examples; empty in a regression.
    pub fn labels(&self) -> Vec<u32> {
        let labels = &self.storage.labels;
        self.rows.iter().filter_map(|&row| labels.get(row as usize).copied()).collect()
    }

    /// The inputs of the examples, without what is to be predicted of them.
    pub fn inputs(&self) -> Inputs<'_> {
        let all = self.storage.inputs.len();
        if self.rows.len() == all && self.rows.iter().zip(0..).all(|(&row, at)| row == at) {
            return self.storage.inputs.view();
        }
        self.storage.inputs.select(&self.rows)
    }

    /// The examples with these positions, which may repeat.
    ///
    /// # Errors
    /// A position that is not there.
    pub fn select(&self, positions: &[u32]) -> Result<Self, DataError> {
        let rows = self.rows.len();
        let row =
            |&at: &u32| self.rows.get(at as usize).copied().ok_or(DataError::Row { row: at, rows });
        let rows = positions.iter().map(row).collect::<Result<_, _>>()?;
        Ok(Self { storage: self.storage.clone(), rows })
    }

    /// Two parts: the first without this share of the examples, the second with them. Of each class the same share is
    /// held out. Which examples depends on the labels, the share and the seed alone.
    ///
    /// # Errors
    /// A share that is not between 0 and 1, or that leaves one part empty.
    pub fn split(&self, share: f64, seed: u64) -> Result<(Self, Self), DataError> {
        if !(share > 0.0 && share < 1.0) {
            return Err(DataError::Share(share));
        }
        let examples = self.len();
        let count = (examples as f64 * share).round() as usize;
        let labels = match self.storage.target {
            Target::Classes(_) => self.labels(),
            Target::Values(_) => vec![0; examples],
        };
        let split = hold_out(&labels, count, seed).filter(|_| count > 0);
        let Split { train, validation } = split.ok_or(DataError::EmptyPart { share, examples })?;
        Ok((self.select(&train)?, self.select(&validation)?))
    }

    /// The arrays as a trainer takes them, and which of their rows are this part.
    pub(crate) fn images(&self) -> (Images<'_>, &[u32]) {
        let Storage { inputs, labels, values, target, .. } = &*self.storage;
        let (labels, classes) = match target {
            Target::Classes(names) => (Labels::Classes(labels), names.len()),
            Target::Values(names) => (Labels::Values(values), names.len()),
        };
        (Images { pixels: inputs.pixels(), labels, shape: inputs.shape(), classes }, &self.rows)
    }

    /// What a network that is trained on this part predicts, and the values of all examples standardised by those of
    /// this part: `[all examples, values]`, empty where classes are predicted.
    pub(crate) fn standardized(&self) -> (ModelTarget, Vec<f32>) {
        let Storage { values, target, .. } = &*self.storage;
        let names = match target {
            Target::Classes(names) => {
                return (ModelTarget::Classes { names: names.clone() }, Vec::new());
            }
            Target::Values(names) => names.clone(),
        };
        let Normalization { mean, std } = Normalization::of_values(values, names.len(), &self.rows);
        let target = ModelTarget::Values { names, mean, std };
        let standardized = target.standardize(values);
        (target, standardized)
    }

    /// The values of this part, `[examples, values]`; empty where classes are predicted.
    pub(crate) fn values(&self) -> Vec<f32> {
        let width = self.names().len();
        let values = &self.storage.values;
        let row = |&row: &u32| values.get(row as usize * width..)?.get(..width);
        self.rows.iter().filter_map(row).flatten().copied().collect()
    }

    /// What tells the arrays of one data set from those of another.
    pub(crate) fn identity(&self) -> u64 {
        self.storage.identity
    }
}

impl<'a> From<Pixels<'a>> for Elements<'a> {
    fn from(pixels: Pixels<'a>) -> Self {
        match pixels {
            Pixels::Bytes(bytes) => Elements::Bytes(bytes.into()),
            Pixels::Reals(reals) => Elements::Reals(reals.into()),
        }
    }
}
