//! Carrying on: weights of a trained network in another one, and more epochs of a finished training.

use std::collections::HashSet;
use std::fmt;

use super::error::TrainError;
use super::setup::check_epochs;
use super::state::{self, State, StateTensor};
use super::trainer::Trainer;
use crate::config::ConfigError;
use crate::program::{Role, TensorId};

/// Tensors of a network, each with the saved one.
type Matched<'s> = Vec<(TensorId, &'s StateTensor)>;

/// How well the names and shapes of a network's tensors must match those of a saved state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// Both have the same tensors, in the same shapes.
    Exact,
    /// A tensor is loaded where the state has its name and shape; every other one keeps its values.
    ByName,
}

/// What became of each tensor when weights were loaded, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedWeights {
    /// Those that were loaded.
    pub loaded: Vec<String>,
    /// Those of the network that the state lacks: they keep their values.
    pub missing: Vec<String>,
    /// Those of the state that the network lacks.
    pub unused: Vec<String>,
    /// Those that both have in different shapes: they keep their values.
    pub mismatched: Vec<ShapeMismatch>,
}

/// A tensor that a saved state has in another shape than the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// Its name.
    pub name: String,
    /// Its shape in the state.
    pub found: Vec<usize>,
    /// Its shape in the network.
    pub expected: Vec<usize>,
}

impl LoadedWeights {
    /// Whether network and state have the same tensors.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.mismatched.is_empty()
    }

    /// What was not loaded, in words; of each kind at most so many tensors by name.
    fn differences(&self, most: usize) -> Vec<String> {
        let quoted = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect();
        let all: [(&str, Vec<String>); 3] = [
            ("missing in the saved state", quoted(&self.missing)),
            ("not in this network", quoted(&self.unused)),
            ("of another shape", self.mismatched.iter().map(ToString::to_string).collect()),
        ];
        let described = all.into_iter().filter(|(_, of)| !of.is_empty()).map(|(what, of)| {
            let more = of.len().saturating_sub(most);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{what}: {}{more}", of[..of.len().min(most)].join(", "))
        });
        described.collect()
    }
}

impl fmt::Display for ShapeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` has shape {:?}, expected {:?}", self.name, self.found, self.expected)
    }
}

/// One line, with the first few tensors that were not loaded.
impl fmt::Display for LoadedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors loaded", self.loaded.len())?;
        self.differences(3).iter().try_for_each(|difference| write!(f, "; {difference}"))
    }
}

impl Trainer {
    /// Loads parameters, heads and running statistics from the saved state of another network. The optimiser and the
    /// position in the training stay as they are, and so do the feedback matrices of feedback alignment.
    ///
    /// ```no_run
    /// # use lfnn_core::{model::Model, train::{Matching, TrainError, Trainer}};
    /// # fn grow(trainer: &mut Trainer, trained: &Model) -> Result<(), TrainError> {
    /// // A network with the units of a trained one and more behind them.
    /// let weights = trainer.load_weights(&trained.state, Matching::ByName)?;
    /// println!("{weights}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// With [`Matching::Exact`] a tensor that one of them lacks or has in another shape; otherwise none that both have
    /// in the same shape. A number that is not finite, or a failure of the backend. After an error of the state the
    /// weights are what they were.
    pub fn load_weights(
        &mut self,
        state: &State,
        matching: Matching,
    ) -> Result<LoadedWeights, TrainError> {
        let (report, matched) = self.match_weights(state).map_err(TrainError::State)?;
        if matching == Matching::Exact && !report.is_exact() {
            return Err(TrainError::State(report.differences(usize::MAX).join("; ")));
        }
        if report.loaded.is_empty() {
            let message = "none of its tensors has a name and a shape of this network";
            return Err(TrainError::State(message.into()));
        }
        state::load(&self.built.set, &mut *self.executable, &matched)?;
        Ok(report)
    }

    /// The tensors of the network that a state has too, each with the saved one.
    fn match_weights<'s>(&self, state: &'s State) -> Result<(LoadedWeights, Matched<'s>), String> {
        let index = state.index();
        let (mut report, mut matched) = (LoadedWeights::default(), Vec::new());
        let parameters = self.network().parameters();
        for parameter in parameters {
            let tensor = &parameter.tensor;
            let expected = state::saved_shape(&tensor.shape);
            match index.get(tensor.name.as_str()) {
                None => report.missing.push(tensor.name.clone()),
                Some(saved) if saved.shape != expected => {
                    let (name, found) = (tensor.name.clone(), saved.shape.clone());
                    report.mismatched.push(ShapeMismatch { name, found, expected });
                }
                Some(_) => {
                    matched.push((parameter.id, state::saved(tensor, &index)?));
                    report.loaded.push(tensor.name.clone());
                }
            }
        }
        let known: HashSet<&str> = parameters.iter().map(|p| p.tensor.name.as_str()).collect();
        let is_weight = |name: &str| Role::of_saved(name) == Some(Role::Parameter);
        let unused = state.tensors.iter().map(|tensor| &tensor.name);
        report.unused = unused
            .filter(|name| is_weight(name) && !known.contains(name.as_str()))
            .cloned()
            .collect();
        match matched.iter().find(|(_, saved)| !saved.is_finite()) {
            Some((_, saved)) => Err(format!("`{}` holds a number that is not finite", saved.name)),
            None => Ok((report, matched)),
        }
    }

    /// Loads the normalisation of the inputs from a saved state, for inputs that are to be normalised as those of
    /// another training were.
    ///
    /// # Errors
    /// A state that lacks it or has it for another number of channels, or a failure of the backend.
    pub fn load_normalization(&mut self, state: &State) -> Result<(), TrainError> {
        let index = state.index();
        let tensors = self.built.set.tensors().iter();
        let own = tensors.filter(|(_, tensor)| tensor.role == Role::Normalization);
        let matched = own.map(|(id, tensor)| Ok((id, state::saved(tensor, &index)?)));
        let matched: Vec<_> = matched.collect::<Result<_, _>>().map_err(TrainError::State)?;
        state::load(&self.built.set, &mut *self.executable, &matched)
    }

    /// Changes how many epochs the training has, so that a finished one continues: then its steps are those of a
    /// training that had so many epochs from the beginning.
    ///
    /// # Errors
    /// A learning-rate schedule that depends on the number of epochs, fewer epochs than have begun, or more steps than
    /// 32 bits count.
    pub fn set_epochs(&mut self, epochs: usize) -> Result<(), TrainError> {
        let fail = |message: String| Err(ConfigError::new("training.epochs", message).into());
        let begun = self.epoch + usize::from(self.step > 0);
        if epochs == self.training.epochs {
            return Ok(());
        }
        if self.training.schedule.depends_on_epochs() {
            return fail(format!(
                "{epochs}, but the learning rates of the {} steps so far were those of {} epochs; expected a schedule \
                 that does not depend on the number of epochs, `constant` or `step`",
                self.epoch * self.steps_per_epoch + self.step,
                self.training.epochs
            ));
        }
        if epochs < begun.max(1) {
            let which = if begun > 0 { ", which have begun" } else { "" };
            return fail(format!("{epochs}, expected at least {}{which}", begun.max(1)));
        }
        check_epochs(epochs, self.steps_per_epoch)?;
        self.training.epochs = epochs;
        Ok(())
    }
}
