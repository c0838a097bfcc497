//! Prediction by several: the output layer together with the workers of the last hidden units.

use crate::layer::Parameter;
use crate::network::Network;
use crate::program::{Concat, FilterLogits, Part, Predictions, Role, SwapAxes, TensorId};
use crate::step::StepBuilder;
use crate::unit::Unit;

impl Network {
    /// Whether the workers of a unit have a vote in the prediction.
    fn has_vote(&self, unit: &Unit) -> bool {
        self.units().len() - unit.number() < self.config().output.ensemble
    }

    /// Whether prediction needs a trainable parameter.
    pub(crate) fn predicts_with(&self, parameter: &Parameter) -> bool {
        match (parameter.tensor.role, parameter.part) {
            (Role::Head, Part::Unit(number)) => {
                let unit = &self.units()[number - 1];
                self.has_vote(unit) && !unit.matches_similarity_with(parameter.id)
            }
            (role, _) => role == Role::Parameter,
        }
    }

    /// Writes the forward rules of all units and of the output layer, and gives the logits of the prediction,
    /// `[batch, classifiers · classes]`. With `workers_predict` each unit's workers' logits are handed over.
    pub(crate) fn write_prediction(
        &self,
        step: &mut StepBuilder<'_>,
        mut x: TensorId,
        workers_predict: bool,
        mut hand_over: impl FnMut(&mut StepBuilder<'_>, &Unit, TensorId),
    ) -> TensorId {
        let mut votes = Vec::new();
        for unit in self.units() {
            let has_vote = self.has_vote(unit);
            let saved = unit.forward(step, x, workers_predict || has_vote);
            votes.extend(saved.logits.filter(|_| has_vote).map(|z| (unit.predictions(), z)));
            if let Some(z) = saved.logits.filter(|_| workers_predict) {
                hand_over(step, unit, z);
            }
            x = saved.output;
        }
        let z = self.output().forward(step, x).y;
        self.write_votes(step, &votes, z)
    }

    /// Writes the mean of the logits of the output layer `z` and of the units that vote, each of which has the mean over
    /// its workers.
    ///
    /// A mean of logits is that of the logarithms of probabilities, but for a number that is the same for all classes.
    fn write_votes(
        &self,
        step: &mut StepBuilder<'_>,
        votes: &[(Predictions, TensorId)],
        z: TensorId,
    ) -> TensorId {
        if votes.is_empty() {
            return z;
        }
        step.part(Part::Output);
        let width = step.channels(z);
        let mut all = vec![z];
        for &(Predictions { classifiers, workers, classes }, logits) in votes {
            all.push(match workers {
                1 => logits,
                _ => write_mean(step, logits, classifiers, classes),
            });
        }
        let together = step.activation("votes", &[all.len() * width]);
        step.push(Concat { inputs: all, y: together });
        write_mean(step, together, 1, width)
    }
}

/// The mean of the runs of `width` numbers in each of `groups` equal parts, `[batch, groups · width]`.
fn write_mean(step: &mut StepBuilder<'_>, x: TensorId, groups: usize, width: usize) -> TensorId {
    let extents = [1, 1, step.channels(x)];
    let image = step.activation("votes.image", &extents);
    step.push(SwapAxes::channels_last(x, image, &extents));
    let z = step.activation("votes.mean", &[groups * width]);
    step.push(FilterLogits { x: image, z, workers: groups, width, scale: 1.0 });
    z
}
