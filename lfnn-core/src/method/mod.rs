//! Training methods: which loss reaches which parameter.
//!
//! A method is one file here: an equation, a constant that describes it, and a function that builds a
//! training step out of [`TrainingStep`]'s parts, unit by unit. No layer and no backend knows the methods, so a program
//! can have methods of its own: a constant [`Method`] in [`Setup::method`](crate::train::Setup::method).

mod bp;
mod dfa;
mod fa;
mod fg;
mod lfnn;
mod lfnn_l;
mod lg_bp;
mod lg_fa;
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
    /// A fixed matrix carries the error of the output layer to each unit; inside units gradients travel backwards.
    Direct,
    /// The derivative of the loss along random directions, added to what this says, travels forwards.
    Forward(Perturbation),
}

/// Backpropagation.
pub const BP: &Method = &bp::METHOD;
/// Locally greedy backpropagation: a loss for each unit.
pub const LG_BP: &Method = &lg_bp::METHOD;
/// Leader-follower learning beside backpropagation (Eq. 1).
pub const LFNN: &Method = &lfnn::METHOD;
/// Feedback alignment.
pub const FA: &Method = &fa::METHOD;
/// Forward gradients of weights.
pub const FG_W: &Method = &fg::WEIGHTS;
/// Forward gradients of activities.
pub const FG_A: &Method = &fg::ACTIVITIES;
/// Local forward gradients of weights.
pub const LG_FG_W: &Method = &lg_fg::WEIGHTS;
/// Local forward gradients of activities.
pub const LG_FG_A: &Method = &lg_fg::ACTIVITIES;
/// Leader-follower learning without backpropagation between units (Eq. 2).
pub const LFNN_L: &Method = &lfnn_l::METHOD;

/// Direct feedback alignment.
pub const DFA: &Method = &dfa::METHOD;
/// Local feedback alignment.
pub const LG_FA: &Method = &lg_fa::METHOD;

/// Every method: those of the paper's Table 1 in its order, then those beside it.
///
/// ```
/// use lfnn_core::method::{METHODS, PAPER_METHODS};
///
/// let paper = ["bp", "lg-bp", "lfnn", "fa", "fg-w", "fg-a", "lg-fg-w", "lg-fg-a", "lfnn-l"];
/// assert!(PAPER_METHODS.iter().map(|method| method.name).eq(paper));
/// assert!(METHODS[9..].iter().map(|method| method.name).eq(["dfa", "lg-fa"]));
/// ```
pub const METHODS: [&Method; 11] =
    [BP, LG_BP, LFNN, FA, FG_W, FG_A, LG_FG_W, LG_FG_A, LFNN_L, DFA, LG_FA];

/// The methods of the paper's Table 1, in its order.
pub const PAPER_METHODS: &[&Method] = METHODS.split_at(9).0;

/// The names of all methods, in the order of [`METHODS`].
pub fn names() -> [&'static str; METHODS.len()] {
    METHODS.map(|method| method.name)
}

/// The method with this name.
///
/// Each builds a training step for the same network:
///
/// ```
/// use lfnn_core::config::{NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
/// use lfnn_core::method::{METHODS, by_name};
/// use lfnn_core::train::{DataLayout, Setup, trainer_programs};
///
/// let network = NetworkConfig::new([UnitConfig::new().flatten().neurons(4)]);
/// let training = TrainingConfig::new(20, 1, OptimizerConfig::sgd(0.1));
/// for method in METHODS {
///     let method = by_name(method.name).ok_or("unknown method")?;
///     let setup = Setup::new(&network, &training, method);
///     let programs = trainer_programs(&setup, DataLayout::of_bytes([8, 8, 1], 10, 100), 80)?;
///     assert!(!programs.programs()[0].ops().is_empty());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn by_name(name: &str) -> Option<&'static Method> {
    METHODS.into_iter().find(|method| method.name == name)
}
