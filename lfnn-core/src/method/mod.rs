//! Training methods: which loss reaches which parameter.
//!
//! A method is one file here: an equation, a constant that describes it, and a function that builds a
//! training step out of [`TrainingStep`]'s parts, unit by unit. No layer and no backend knows the methods.

mod bp;
mod fa;
mod fg;
mod lfnn;
mod lfnn_l;
mod lg_bp;
mod lg_fg;
mod step;

pub(crate) use step::BuiltStep;
pub use step::{OutputSaved, TrainingStep};

use crate::layer::Perturbation;

/// A training method.
#[derive(Debug)]
pub struct Method {
    /// The name by which users choose it.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Whether no derivative passes from one unit to another.
    pub local: bool,
    /// What the workers of hidden units learn from.
    pub workers: Workers,
    /// How it comes to gradients.
    pub gradient: Gradient,
    /// Writes the training step, from the batch to the updates.
    pub write: fn(&mut TrainingStep<'_, '_>),
}

/// What the workers of hidden units learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// They do not predict, and their heads keep their initial values.
    Untrained,
    /// All of them learn from the labels.
    AllOnLabels,
    /// Leaders learn from the labels, followers from a leader's output.
    LeadersAndFollowers,
}

impl Workers {
    /// Whether they predict and learn.
    pub fn learn(self) -> bool {
        self != Workers::Untrained
    }

    /// Whether some of them are chosen as leaders.
    pub fn have_leaders(self) -> bool {
        self == Workers::LeadersAndFollowers
    }
}

/// How a method comes to gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gradient {
    /// Gradients travel backwards through layers, across the network or inside a unit.
    Backward,
    /// The derivative of the loss along random directions, added to what this says, travels forwards.
    Forward(Perturbation),
}

/// Every method, in the order of the paper's Table 1.
///
/// ```
/// let names = lfnn_core::method::METHODS.map(|method| method.name);
/// let expected = ["bp", "lg-bp", "lfnn", "fa", "fg-w", "fg-a", "lg-fg-w", "lg-fg-a", "lfnn-l"];
/// assert_eq!(names, expected);
/// ```
pub const METHODS: [&Method; 9] = [
    &bp::METHOD,
    &lg_bp::METHOD,
    &lfnn::METHOD,
    &fa::METHOD,
    &fg::WEIGHTS,
    &fg::ACTIVITIES,
    &lg_fg::WEIGHTS,
    &lg_fg::ACTIVITIES,
    &lfnn_l::METHOD,
];

/// The names of all methods, in the order of [`METHODS`].
pub fn names() -> [&'static str; METHODS.len()] {
    METHODS.map(|method| method.name)
}

/// The method with this name.
///
/// Each builds a training step for the same network:
///
/// ```
/// use lfnn_core::config::{NetworkConfig, TrainingConfig};
/// use lfnn_core::method::{METHODS, by_name};
/// use lfnn_core::train::{DataLayout, Normalization, Setup, trainer_programs};
///
/// let network: NetworkConfig = serde_json::from_str(
///     r#"{"units": [{"layers": ["flatten"], "workers": {"neurons": {"count": 4}}}]}"#,
/// )?;
/// let training: TrainingConfig = serde_json::from_str(
///     r#"{"batch_size": 20, "epochs": 1, "optimizer": {"sgd": {"lr": 0.1}}}"#,
/// )?;
/// for method in METHODS {
///     let method = by_name(method.name).ok_or("unknown method")?;
///     let normalization = Normalization { mean: vec![0.5], std: vec![0.3] };
///     let setup = Setup::new(&network, &training, method, normalization);
///     let programs = trainer_programs(&setup, DataLayout::of_bytes([8, 8, 1], 10, 100), 80)?;
///     assert!(!programs.programs()[0].ops().is_empty());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn by_name(name: &str) -> Option<&'static Method> {
    METHODS.into_iter().find(|method| method.name == name)
}
