//! Units: the smallest parts of a network with a local loss, and the workers inside them.
//!
//! A unit's layers produce features, on which its workers predict; its output then passes through the
//! parameter-free layers of the transition to the next unit. A local gradient enters at the workers'
//! logits and ends at the unit's own parameters. A global gradient enters at the unit's output and, if
//! asked for, leaves at its input.

mod block;
mod filters;
mod heads;
mod leadership;
mod neurons;
mod readout;
mod similarity;
mod workers;

pub use block::BlockConfig;
pub use filters::FiltersConfig;
pub use heads::HeadConfig;
pub use leadership::{Leaders, Leadership, UnitState, WorkerOutputs, WorkerSums};
pub use neurons::{NeuronsConfig, OutputActivation};
pub use readout::ReadoutConfig;
pub use similarity::SimilarityConfig;
pub use workers::WorkersConfig;

use crate::config::{ConfigError, UnitConfig};
use crate::layer::{
    Along, Coupling, Cut, Derivative, Gradients, Layer, LayerBuilder, LayerConfig, NeedsGrad,
    Perturbation, Saved, Sequential, Tangents,
};
use crate::program::{Concat, MaskFollowers, Part, Predictions, Split, TensorId};
use crate::step::{Mode, StepBuilder};
use similarity::{Compared, Similarity};

/// Layers that one or several workers share, with what turns their features into logits.
#[derive(Debug)]
struct Branch {
    layers: Sequential,
    /// Each gives the logits of one or several workers.
    heads: Vec<Sequential>,
}

/// What the forward rule of a branch leaves.
#[derive(Clone, Debug)]
struct BranchSaved {
    layers: Saved,
    /// None where the workers were not asked to predict.
    heads: Vec<Saved>,
}

/// A hidden unit for inputs of one shape.
#[derive(Debug)]
pub struct Unit {
    /// Position among the units, from 1.
    number: usize,
    kind: &'static str,
    frozen: bool,
    predictions: Predictions,
    branches: Vec<Branch>,
    /// Whether every feature belongs to every worker.
    shares_features: bool,
    similarity: Option<Similarity>,
    output_activation: Sequential,
    transition: Sequential,
}

/// What a unit's forward rule leaves for the others.
#[derive(Clone, Debug)]
pub struct UnitSaved {
    branches: Vec<BranchSaved>,
    /// What similarity matching compares, where the workers were asked to predict in training, with its tangent.
    similarity: Option<(Saved, Along)>,
    output_activation: Saved,
    transition: Saved,
    /// The tangents that the heads gave, in order, where the workers were asked to predict in a perturbed pass.
    tangents: Vec<Along>,
    /// What the frozen units in front of it saved, where a step trains.
    pub(crate) frozen_before: Vec<UnitSaved>,
    /// The workers' logits, if they were asked to predict.
    pub logits: Option<TensorId>,
    /// The unit's output.
    pub output: TensorId,
}

/// The gradient of a unit's local losses.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalGradient {
    /// Of the workers' losses, with respect to their logits; none where the weights of these are 0.
    pub logits: Option<TensorId>,
    /// Of similarity matching, with respect to what it compares; none in a unit without it.
    pub similarity: Option<TensorId>,
}

/// The gradients that reach a unit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals {
    /// Gradient of the local losses.
    pub local: Option<LocalGradient>,
    /// Gradient of the global loss with respect to the unit's output.
    pub global: Option<TensorId>,
    /// Mask that keeps the global gradient from followers.
    pub leaders: Option<TensorId>,
    /// Whether the global gradient passes through followers to earlier units all the same.
    pub gradient_through_followers: bool,
}

/// What a unit is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnitPlace<'a> {
    /// Position among the units, from 0.
    pub(crate) index: usize,
    /// The configuration of the unit's layers.
    pub(crate) layers: &'a [LayerConfig],
    /// Shape of the input.
    pub(crate) input: &'a [usize],
    /// Whether each classifier has its own part of the input (one-vs-all, after the first unit).
    pub(crate) input_per_classifier: bool,
    /// Independent classifiers.
    pub(crate) classifiers: usize,
    /// Numbers that one worker predicts.
    pub(crate) classes: usize,
    /// Whether outputs are probabilities, and not the logits themselves.
    pub(crate) probabilities: bool,
}

impl Unit {
    pub(crate) fn new(
        builder: &mut LayerBuilder<'_>,
        config: &UnitConfig,
        place: &UnitPlace<'_>,
    ) -> Result<Self, ConfigError> {
        let number = place.index + 1;
        (builder.part, builder.frozen) = (Part::Unit(number), config.frozen);
        let (path, name) = (format!(".units[{}]", place.index), format!("unit{number}."));
        builder.within(&path, &name, |builder| {
            let workers = config.workers.build(builder, place)?;
            let similarity = builder.within(".similarity", "", |builder| {
                let build =
                    |config: &SimilarityConfig| config.build(builder, &workers.features, place);
                config.similarity.as_ref().map(build).transpose()
            })?;
            let transition = builder.within(".transition", "", |builder| {
                let layers =
                    builder.sequential(&config.transition, &workers.features, "transition")?;
                if !layers.trainable().is_empty() {
                    return Err(builder.error(
                        "holds a layer with parameters, which no local loss would train; \
                         put it into the `layers` of this unit or the next",
                    ));
                }
                Ok(layers)
            })?;
            Ok(Self {
                number,
                kind: config.workers.kind(),
                frozen: config.frozen,
                predictions: Predictions {
                    classifiers: place.classifiers,
                    workers: config.workers.count(),
                    classes: place.classes,
                },
                branches: workers.branches,
                shares_features: workers.shares_features,
                similarity,
                output_activation: workers.output_activation,
                transition,
            })
        })
    }

    /// Position among the units, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The kind of its workers: see [`WorkersConfig::kind`].
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether training leaves it as it is.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// How its logits fall into classifiers, workers and classes.
    pub fn predictions(&self) -> Predictions {
        self.predictions
    }

    /// Shape of its output, without the batch.
    pub fn output_shape(&self) -> &[usize] {
        self.transition.output_shape()
    }

    /// How many layers with weights the unit has between its input and its output: 1 in a layer-wise unit. A global
    /// gradient crosses them.
    pub fn depth(&self) -> usize {
        self.branches[0].layers.depth()
    }

    /// How many layers with weights a local gradient crosses inside the unit: its own, and those of its deepest head
    /// in front of the readout, or of similarity matching.
    pub fn local_depth(&self) -> usize {
        let heads = self.branches[0].heads.iter().map(|head| head.depth().saturating_sub(1));
        let similarity = self.similarity.iter().map(|similarity| similarity.layers.depth());
        self.depth() + heads.chain(similarity).max().unwrap_or(0)
    }

    /// Whether similarity matching compares the examples of a batch in training.
    pub fn matches_similarity(&self) -> bool {
        !self.frozen && self.similarity.is_some()
    }

    /// Whether a parameter belongs to similarity matching, which training alone needs.
    pub(crate) fn matches_similarity_with(&self, parameter: TensorId) -> bool {
        let similarity = self.similarity.iter();
        similarity.flat_map(|similarity| similarity.layers.trainable()).any(|id| id == parameter)
    }

    /// The layers of one block (all layers, where there are no blocks), described.
    pub fn describe_layers(&self) -> String {
        self.branches[0].layers.describe()
    }

    /// How the features become the workers' logits, described; empty for neurons.
    pub fn describe_heads(&self) -> String {
        let heads = self.branches[0].heads.iter().map(Layer::describe);
        heads.collect::<Vec<_>>().join(" | ")
    }

    /// From the features to what similarity matching compares, described; empty in a unit without it.
    pub fn describe_similarity(&self) -> String {
        self.similarity.as_ref().map_or_else(String::new, |similarity| similarity.layers.describe())
    }

    /// The layers between the workers and the next unit, described.
    pub fn describe_transition(&self) -> String {
        self.transition.describe()
    }

    /// Writes the forward rule; with `predict` the workers' logits too.
    pub fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId, predict: bool) -> UnitSaved {
        step.part(Part::Unit(self.number));
        let mut branches = Vec::with_capacity(self.branches.len());
        for Branch { layers, heads } in &self.branches {
            let layers = layers.forward(step, x);
            let heads = heads.iter().filter(|_| predict);
            let heads = heads.map(|head| head.forward(step, layers.y)).collect();
            branches.push(BranchSaved { layers, heads });
        }
        let mut saved = self.join(step, branches);
        saved.similarity = self
            .compared(step, predict)
            .map(|similarity| (similarity.layers.forward(step, saved.features()), Along::new()));
        saved
    }

    /// Writes the forward rule with random directions added, layer by layer (see [`Perturbation`]), from the
    /// input's tangent `dx`; none means zero. With `predict` the tangents of the heads are saved, otherwise that of the
    /// output comes back.
    pub fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        (x, dx): (TensorId, Along),
        predict: bool,
        perturb: Perturbation,
    ) -> (UnitSaved, Along) {
        step.part(Part::Unit(self.number));
        let mut branches = Vec::with_capacity(self.branches.len());
        let (mut features, mut tangents) = (Vec::new(), Vec::new());
        let similarity = self.compared(step, predict);
        for Branch { layers, heads } in &self.branches {
            let before = if predict {
                let heads = Coupling::of(heads.iter().map(Sequential::coupling_before_readout));
                perturb
                    .before(Coupling { examples: heads.examples || similarity.is_some(), ..heads })
            } else {
                perturb.before(self.coupling_behind_branches())
            };
            let (layers, dy) = layers.jvp_with_noise(step, x, dx.clone(), before);
            let mut heads_saved = Vec::with_capacity(heads.len());
            for head in heads.iter().filter(|_| predict) {
                let (head, dz) = head.jvp_with_noise(step, layers.y, dy.clone(), perturb);
                tangents.push(dz);
                heads_saved.push(head);
            }
            features.push((layers.y, dy));
            branches.push(BranchSaved { layers, heads: heads_saved });
        }
        let mut saved = self.join(step, branches);
        saved.tangents = tangents;
        let compared = !predict || similarity.is_some();
        let dx = if compared { concat_tangents(step, &features) } else { Along::new() };
        saved.similarity = similarity.map(|similarity| {
            // What its layers are perturbed by meets other examples in the loss.
            let perturb = perturb.before(Coupling { examples: true, ..Coupling::EXAMPLE });
            similarity.layers.jvp_with_noise(step, saved.features(), dx.clone(), perturb)
        });
        if predict {
            return (saved, Along::new());
        }
        let none = Tangents::new();
        let handed_on = dx.into_iter().map(|dx| {
            let tangent = self.output_activation.jvp(step, &saved.output_activation, dx, &none);
            self.transition.jvp(step, &saved.transition, tangent, &none)
        });
        let handed_on = handed_on.collect();
        (saved, handed_on)
    }

    /// Writes the forward gradient of every parameter that [`jvp_with_noise`](Self::jvp_with_noise) reached, from the
    /// gradient of the unit's own losses, with the workers' predictions.
    pub fn forward_gradient_of_losses(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &UnitSaved,
        gradient: LocalGradient,
        perturb: Perturbation,
    ) -> Gradients {
        step.part(Part::Unit(self.number));
        let mut gradients = Gradients::default();
        let matched = saved.similarity.as_ref().zip(gradient.similarity);
        let matched = matched.map(|((_, tangents), gradient)| Cut {
            gradient,
            tangents: tangents.clone(),
            groups: 1,
        });
        let dz = gradient.logits.map(|dz| split_like(step, dz, &logits(&saved.branches)));
        let (mut dz, mut tangents) = (dz.into_iter().flatten(), saved.tangents.iter());
        // One number serves all parameters; outputs take what their own branch changes.
        let shared = perturb == Perturbation::Parameters;
        let mut cuts = Vec::new();
        for (branch, of_branch) in self.branches.iter().zip(&saved.branches) {
            let mut own = Vec::new();
            for ((head, saved), dz) in branch.heads.iter().zip(&of_branch.heads).zip(&mut dz) {
                let tangents = tangents.next().cloned().unwrap_or_default();
                let cut = if shared {
                    Cut { gradient: dz, tangents, groups: 1 }
                } else {
                    let tangents = (tangents, self.groups_of_workers());
                    let (readout, cut) = head.readout_gradient(step, saved, dz, tangents);
                    gradients.parameters.extend(readout);
                    cut
                };
                own.push(cut);
            }
            cuts.push(own);
        }
        let mut of_unit = Derivative::new(cuts.concat()).with_coupled(matched.clone());
        for ((branch, of_branch), own) in self.branches.iter().zip(&saved.branches).zip(cuts) {
            let mut alone = Derivative::new(own.clone()).with_coupled(matched.clone());
            let derivative = if shared { &mut of_unit } else { &mut alone };
            let layers = branch.layers.forward_gradient(step, &of_branch.layers, derivative, None);
            gradients.parameters.extend(layers);
            for ((head, saved), cut) in branch.heads.iter().zip(&of_branch.heads).zip(own) {
                let mut alone = Derivative::new(vec![cut]);
                let derivative = if shared { &mut of_unit } else { &mut alone };
                gradients.parameters.extend(head.forward_gradient(step, saved, derivative, None));
            }
        }
        if let (Some(similarity), Some((saved, _))) = (&self.similarity, &saved.similarity) {
            let mut alone = Derivative::new(Vec::new()).with_coupled(matched);
            let derivative = if shared { &mut of_unit } else { &mut alone };
            let layers = similarity.layers.forward_gradient(step, saved, derivative, None);
            gradients.parameters.extend(layers);
        }
        gradients
    }

    /// Writes the forward gradient of every parameter that [`jvp_with_noise`](Self::jvp_with_noise) reached, without the
    /// workers' predictions.
    pub fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &UnitSaved,
        derivative: &mut Derivative,
    ) -> Gradients {
        step.part(Part::Unit(self.number));
        let branches = self.branches.iter().zip(&saved.branches);
        let parameters = branches.flat_map(|(branch, saved)| {
            branch.layers.forward_gradient(step, &saved.layers, derivative, None)
        });
        Gradients { input: None, parameters: parameters.collect() }
    }

    /// Groups of consecutive features that have losses of their own.
    fn groups_of_workers(&self) -> usize {
        let Predictions { classifiers, workers, .. } = self.predictions;
        if self.shares_features || self.branches.len() > 1 { 1 } else { classifiers * workers }
    }

    /// What meets between the branches and the unit's output.
    fn coupling_behind_branches(&self) -> Coupling {
        let behind = self.output_activation.coupling().and(self.transition.coupling());
        if self.branches.len() == 1 { behind } else { behind.and(Coupling::groups(1)) }
    }

    /// What meets between the unit's input and its output, in training.
    pub fn coupling(&self) -> Coupling {
        let branches = self.branches.iter().map(|branch| branch.layers.coupling());
        let all = Coupling::of(branches).and(self.coupling_behind_branches());
        Coupling { examples: all.examples && !self.frozen, ..all }
    }

    /// The similarity matching that a step trains with.
    fn compared(&self, step: &StepBuilder<'_>, predict: bool) -> Option<&Similarity> {
        self.similarity.as_ref().filter(|_| predict && step.mode() == Mode::Train)
    }

    /// The loss of similarity matching, where there is one, of what the forward rule saved.
    fn similarity_loss(&self, saved: &UnitSaved) -> Option<Compared> {
        Some(self.similarity.as_ref()?.of(saved.similarity.as_ref()?.0.y))
    }

    /// Writes what follows the branches.
    fn join(&self, step: &mut StepBuilder<'_>, branches: Vec<BranchSaved>) -> UnitSaved {
        let features = concat(step, branches.iter().map(|branch| branch.layers.y).collect());
        let logits = logits(&branches);
        let logits = (!logits.is_empty()).then(|| concat(step, logits));
        let output_activation = self.output_activation.forward(step, features);
        let transition = self.transition.forward(step, output_activation.y);
        let output = transition.y;
        let (frozen_before, tangents, similarity) = (Vec::new(), Vec::new(), None);
        UnitSaved {
            branches,
            similarity,
            output_activation,
            transition,
            tangents,
            frozen_before,
            logits,
            output,
        }
    }

    /// Writes the backward rule: the gradient of every parameter that a signal reaches, none in a frozen unit, and
    /// with `needs_input_grad` the global gradient of the input. The local signal never leaves the unit.
    pub fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &UnitSaved,
        signals: Signals,
        needs_input_grad: bool,
    ) -> Gradients {
        step.part(Part::Unit(self.number));
        let needs_grad = NeedsGrad { input: true, parameters: false };
        // The global gradient at the features: what updates the unit, and what passes through it.
        let (mut updating, mut passing) = (None, None);
        if let Some(dy) = signals.global {
            let through_activation = |step: &mut StepBuilder<'_>, d: TensorId| {
                self.output_activation.backward(step, &saved.output_activation, d, needs_grad).input
            };
            let transition = self.transition.backward(step, &saved.transition, dy, needs_grad);
            let arrived = transition.input.unwrap_or(dy);
            let masked = match signals.leaders.filter(|_| !self.shares_features) {
                Some(leaders) => {
                    let y = step.like("masked", arrived);
                    step.push(MaskFollowers { x: arrived, leaders, y });
                    y
                }
                None => arrived,
            };
            updating = through_activation(step, masked);
            passing = if signals.gradient_through_followers && masked != arrived && needs_input_grad
            {
                through_activation(step, arrived)
            } else {
                updating
            };
        }
        let updating = split(step, saved, updating);
        let passing = split(step, saved, passing);
        let LocalGradient { logits: dz, similarity: dx } = signals.local.unwrap_or_default();
        let mut local = dz.map(|dz| split_like(step, dz, &logits(&saved.branches)).into_iter());
        let mut gradients = Gradients::default();
        let needs_both = NeedsGrad { input: true, parameters: true };
        let matched = self.similarity.as_ref().zip(saved.similarity.as_ref()).zip(dx);
        let matched = matched.and_then(|((similarity, (saved, _)), dx)| {
            let part = similarity.layers.backward(step, saved, dx, needs_both);
            gradients.parameters.extend(part.parameters);
            part.input
        });
        let matched = split(step, saved, matched);

        for (index, branch) in self.branches.iter().enumerate() {
            let BranchSaved { layers, heads } = &saved.branches[index];
            let mut own: Vec<TensorId> = updating.iter().map(|parts| parts[index]).collect();
            let local = local.iter_mut().flatten();
            for ((head, saved), dz) in branch.heads.iter().zip(heads).zip(local) {
                let part = head.backward(step, saved, dz, needs_both);
                gradients.parameters.extend(part.parameters);
                own.extend(part.input);
            }
            own.extend(matched.iter().map(|parts| parts[index]));
            let own = step.total(own);
            let pass = passing.as_ref().map(|parts| parts[index]).filter(|_| needs_input_grad);
            let together = own.is_some() && own == pass;
            if let Some(dy) = own {
                let needs_grad = NeedsGrad { input: together, parameters: !self.frozen };
                let part = branch.layers.backward(step, layers, dy, needs_grad);
                gradients.parameters.extend(part.parameters);
                gradients.input = step.sum(gradients.input, part.input);
            }
            if let Some(dy) = pass.filter(|_| !together) {
                let part = branch.layers.backward(step, layers, dy, needs_grad);
                gradients.input = step.sum(gradients.input, part.input);
            }
        }
        gradients
    }
}

impl UnitSaved {
    /// The outputs of all branches, side by side.
    fn features(&self) -> TensorId {
        self.output_activation.x
    }
}

/// The logits of all heads, from the first worker to the last; none where they were not asked to predict.
fn logits(branches: &[BranchSaved]) -> Vec<TensorId> {
    branches.iter().flat_map(|branch| &branch.heads).map(|head| head.y).collect()
}

/// Tensors side by side along the last axis; one alone is itself.
fn concat(step: &mut StepBuilder<'_>, inputs: Vec<TensorId>) -> TensorId {
    let [first, _, ..] = inputs[..] else { return inputs[0] };
    let mut shape = step.shape(first).to_vec();
    if let Some(last) = shape.last_mut() {
        *last = inputs.iter().map(|&input| step.channels(input)).sum();
    }
    let y = step.real("concat", &shape);
    step.push(Concat { inputs, y });
    y
}

/// The tangents of [`concat`], from each part with its own.
fn concat_tangents(step: &mut StepBuilder<'_>, parts: &[(TensorId, Along)]) -> Along {
    let along = |direction: usize| {
        if parts.iter().all(|(_, tangents)| tangents[direction].is_none()) {
            return None;
        }
        let whole = |(value, tangents): &(TensorId, Along)| {
            tangents[direction].unwrap_or_else(|| step.zeros_like(*value))
        };
        let tangents = parts.iter().map(whole).collect();
        Some(concat(step, tangents))
    };
    (0..parts[0].1.len()).map(along).collect()
}

/// The inverse of [`concat`]: parts of `x` with the shapes of `parts`.
fn split_like(step: &mut StepBuilder<'_>, x: TensorId, parts: &[TensorId]) -> Vec<TensorId> {
    if parts.len() == 1 {
        return vec![x];
    }
    let outputs: Vec<TensorId> = parts.iter().map(|&part| step.like("split", part)).collect();
    step.push(Split { x, outputs: outputs.clone() });
    outputs
}

/// A gradient at the unit's features, as one part per branch.
fn split(
    step: &mut StepBuilder<'_>,
    saved: &UnitSaved,
    gradient: Option<TensorId>,
) -> Option<Vec<TensorId>> {
    let features: Vec<TensorId> = saved.branches.iter().map(|branch| branch.layers.y).collect();
    gradient.map(|gradient| split_like(step, gradient, &features))
}
