//! A network: hidden units, then the output layer.

use std::collections::BTreeMap;

use crate::config::{ConfigError, NetworkConfig, OutputConfig, Task};
use crate::layer::{
    Along, Coupling, Cut, Derivative, Extent, FlattenConfig, Gradients, GroupedLinear, Layer,
    LayerBuilder, NeedsGrad, Parameter, Perturbation, Saved, Sequential,
};
use crate::metric::{Metric, MetricScope, Per};
use crate::program::{
    AccumulateRows, Activate, Activation, CountErrors, DType, Decision, Loss, LossGradient,
    MeanWorkerLoss, Part, Predictions, ProgramSet, Reduction, Role, Softmax, TensorId, WorkerLoss,
};
use crate::sizes;
use crate::step::{Mode, StepBuilder};
use crate::unit::{Unit, UnitPlace};

/// A network for inputs of one shape.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    input: Vec<usize>,
    units: Vec<Unit>,
    output: OutputLayer,
    parameters: Vec<Parameter>,
    extent: Extent,
}

/// The output layer: it learns from the global loss alone.
#[derive(Debug)]
pub struct OutputLayer {
    layers: Sequential,
    predictions: Predictions,
    /// Parts of the input with a classifier each.
    groups: usize,
}

const LOSS: Metric = Metric {
    name: "loss",
    about: "mean global loss",
    scope: MetricScope::Network,
    per: Per::Example,
    factor: 1.0,
};

/// The error of the network; there is none in regression.
const ERROR: Metric =
    Metric { name: "error", about: "share of wrong predictions in percent", factor: 100.0, ..LOSS };

/// Sums of the output layer that outlive a step.
#[derive(Clone, Copy, Debug)]
pub struct OutputState {
    /// `U32 [1]`: 1 + the first classifier whose loss was not finite, or 0.
    pub nonfinite: TensorId,
    /// `[classifiers]`: sum over examples of the loss.
    pub loss: TensorId,
    /// `[1]` (`[classifiers]` for binary tasks): number of wrong predictions.
    pub wrong: TensorId,
}

/// The global loss of a step.
#[derive(Clone, Copy, Debug)]
pub struct GlobalLoss {
    loss: Loss,
    target: TensorId,
    weights: Option<TensorId>,
    z: TensorId,
    /// A copy of the logits for the host, `[batch, classifiers · classes]`; none where the step is not traced.
    pub logits: Option<TensorId>,
    /// Outputs p, `[batch, classifiers · classes]`.
    pub output: TensorId,
    /// Mean over the batch, `[classifiers]`.
    pub mean: TensorId,
}

/// Writes what makes outputs p of logits: a softmax over each run of `classes`, a sigmoid for binary classifiers. In a
/// regression they are the logits themselves.
pub(crate) fn write_probabilities(
    step: &mut StepBuilder<'_>,
    z: TensorId,
    loss: Loss,
    classes: usize,
) -> TensorId {
    if loss == Loss::MeanSquared {
        return z;
    }
    let y = step.like("output.probabilities", z);
    if matches!(loss, Loss::Binary { .. }) {
        step.push(Activate { x: z, y, function: Activation::Sigmoid });
    } else {
        step.push(Softmax { x: z, y, width: classes });
    }
    y
}

impl Network {
    /// The network for inputs of shape `input` (without the batch) and this many classes (numbers to
    /// predict, in regression), its parameters and buffers declared in `set`. For its shapes alone, give
    /// an empty set.
    ///
    /// # Errors
    /// A setting out of range, or layers that do not fit together, with the path of the setting.
    pub fn new(
        set: &mut ProgramSet,
        config: &NetworkConfig,
        input: &[usize],
        classes: usize,
    ) -> Result<Self, ConfigError> {
        if input.contains(&0) {
            let message = format!("an input of shape {input:?}, expected extents of at least 1");
            return Err(ConfigError::new("network", message));
        }
        sizes::at_most("classes", classes, sizes::MAX_SETTING)?;
        let (classifiers, classes) = match config.task {
            Task::Classification if classes < 2 => {
                return Err(ConfigError::new(
                    "network.task",
                    format!("classification of {classes} class, expected at least 2"),
                ));
            }
            Task::Binary if classes != 2 => {
                return Err(ConfigError::new(
                    "network.task",
                    format!("a binary task, but the data has {classes} classes"),
                ));
            }
            Task::Classification | Task::Regression => (1, classes),
            Task::Binary => (1, 1),
            Task::OneVsAll => (classes, 1),
        };
        let probabilities = config.task != Task::Regression;
        let mut builder = LayerBuilder::new(set, "network");
        builder.admit(input)?;
        let mut units: Vec<Unit> = Vec::new();
        for (index, unit) in config.units.iter().enumerate() {
            let shape = units.last().map_or(input, Unit::output_shape).to_vec();
            let place = UnitPlace {
                index,
                layers: &unit.layers,
                input: &shape,
                input_per_classifier: classifiers > 1 && index > 0,
                classifiers,
                classes,
                probabilities,
            };
            units.push(Unit::new(&mut builder, unit, &place)?);
        }
        let (voting, hidden) = (config.output.ensemble, units.len());
        if voting > hidden {
            let message = format!("{voting}, expected at most the {hidden} hidden units");
            return Err(ConfigError::new("network.output.ensemble", message));
        }
        let shape = units.last().map_or(input, Unit::output_shape);
        let predictions = Predictions { classifiers, workers: 1, classes };
        let groups = if units.is_empty() { 1 } else { classifiers };
        let output = OutputLayer::new(&mut builder, &config.output, shape, predictions, groups)?;
        let (parameters, extent) = builder.finish();
        let (config, input) = (config.clone(), input.to_vec());
        Ok(Self { config, input, units, output, parameters, extent })
    }

    /// Whether a step may work on this many examples at a time.
    ///
    /// # Errors
    /// None at all, or more than fit a tensor; in training also so few that a batch normalisation has one
    /// value of a channel, and so no variance. As a message.
    pub fn check_batch(&self, batch: usize, mode: Mode) -> Result<(), String> {
        if batch == 0 {
            return Err("0, expected at least 1".into());
        }
        let most = sizes::MAX_ELEMENTS / self.extent.largest.max(1);
        if batch > most {
            return Err(format!(
                "{batch}, expected at most {most} with the layers of this network"
            ));
        }
        let most = sizes::MAX_ELEMENTS.isqrt();
        let compares = mode == Mode::Train && self.units.iter().any(Unit::matches_similarity);
        if compares && batch > most {
            return Err(format!(
                "{batch}, expected at most {most}: similarity matching compares every example of a batch with every other"
            ));
        }
        match &self.extent.fewest {
            Some((values, path)) if mode == Mode::Train && batch * values < 2 => Err(format!(
                "{batch}, expected at least 2: the batch normalisation at {path} sees one value of a \
                 channel in each example, and the variance of one value is 0"
            )),
            _ => Ok(()),
        }
    }

    /// The configuration that it was made from.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Shape of an input: `[height, width, channels]`, or `[features]`.
    pub fn input_shape(&self) -> &[usize] {
        &self.input
    }

    /// The hidden units.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The output layer.
    pub fn output(&self) -> &OutputLayer {
        &self.output
    }

    /// ℓ of the task.
    pub fn loss(&self, smoothing: f64) -> Loss {
        match self.config.task {
            Task::Classification => Loss::CrossEntropy { smoothing },
            Task::Binary => Loss::Binary { one_vs_all: false, smoothing },
            Task::OneVsAll => Loss::Binary { one_vs_all: true, smoothing },
            Task::Regression => Loss::MeanSquared,
        }
    }

    /// How many numbers are to be predicted in a regression; none where classes are.
    pub(crate) fn values(&self) -> Option<usize> {
        (self.config.task == Task::Regression).then_some(self.output.predictions.classes)
    }

    /// Every parameter and buffer, from the input to the output.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Number of trainable parameters: those that prediction needs, and those of workers' heads that it does not.
    pub fn parameter_counts(&self) -> (usize, usize) {
        let counts = self.parameter_counts_by_part().into_values();
        counts.fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1))
    }

    /// The same of each part that has any.
    pub fn parameter_counts_by_part(&self) -> BTreeMap<Part, (usize, usize)> {
        let mut counts: BTreeMap<Part, (usize, usize)> = BTreeMap::new();
        for parameter in self.parameters.iter().filter(|parameter| parameter.trainable()) {
            let (own, heads) = counts.entry(parameter.part).or_default();
            let needed = self.predicts_with(parameter);
            *(if needed { own } else { heads }) += parameter.tensor.len();
        }
        counts
    }
}

impl OutputLayer {
    /// `groups` is the number of parts of the input, each with its own classifier.
    fn new(
        builder: &mut LayerBuilder<'_>,
        config: &OutputConfig,
        input: &[usize],
        predictions: Predictions,
        groups: usize,
    ) -> Result<Self, ConfigError> {
        (builder.part, builder.frozen) = (Part::Output, false);
        builder.within(".output.layers", "output.", |builder| {
            let mut layers = builder.sequential(&config.layers, input, "layer")?;
            if predictions.classifiers > 1 && layers.depth() > 0 {
                let message =
                    "one-vs-all networks share no weights: expected no layer with weights";
                return Err(builder.error(message));
            }
            if layers.output_shape().len() == 3 {
                builder.append_uncounted(&mut layers, &FlattenConfig)?;
            }
            let features = predictions.features();
            layers.begin_readout();
            builder.append(&mut layers, &GroupedLinear { features, groups })?;
            Ok(Self { layers, predictions, groups })
        })
    }

    /// How the logits fall into classifiers and classes.
    pub fn predictions(&self) -> Predictions {
        self.predictions
    }

    /// The layers, described.
    pub fn describe(&self) -> String {
        self.layers.describe()
    }

    /// How many layers with weights the gradient crosses.
    pub fn depth(&self) -> usize {
        self.layers.depth()
    }

    /// Which of the network's predictions are wrong; none in regression.
    pub fn decision(&self, loss: Loss) -> Option<Decision> {
        match loss {
            Loss::CrossEntropy { .. } => Some(Decision::Largest),
            Loss::Binary { one_vs_all: true, .. } => Some(Decision::LargestClassifier),
            Loss::Binary { one_vs_all: false, .. } => {
                Some(Decision::Threshold { one_vs_all: false })
            }
            Loss::MeanSquared => None,
        }
    }

    /// Adds the sums that outlive a step; `role` is [`Role::Metric`] or [`Role::Evaluation`].
    pub fn declare_state(&self, step: &mut StepBuilder<'_>, role: Role) -> OutputState {
        let classifiers = self.predictions.classifiers;
        OutputState {
            nonfinite: step.declare(role, "output.nonfinite", DType::U32, &[1]),
            loss: step.declare(role, "output.loss", DType::Real, &[classifiers]),
            wrong: step.declare(role, "output.wrong", DType::Real, &[1]),
        }
    }

    /// Writes the forward rule: its output are the logits, `[batch, classifiers · classes]`.
    pub fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        step.part(Part::Output);
        self.layers.forward(step, x)
    }

    /// Writes the forward rule with random directions added, layer by layer (see [`Perturbation`]), from the
    /// input's tangent `dx`; none means zero. The tangent comes back: of the logits, or for perturbed outputs in front of
    /// the readout.
    pub fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        (x, dx): (TensorId, Along),
        perturb: Perturbation,
    ) -> (Saved, Along) {
        step.part(Part::Output);
        self.layers.jvp_with_noise(step, x, dx, perturb)
    }

    /// The derivative of the global loss, from the gradient of the logits and the tangent of
    /// [`jvp_with_noise`](Self::jvp_with_noise); for perturbed outputs also the exact gradients of the readout.
    pub fn derivative(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        (gradient, tangents): (TensorId, Along),
        perturb: Perturbation,
    ) -> (Derivative, Vec<(TensorId, TensorId)>) {
        step.part(Part::Output);
        let (parameters, cut) = if let Perturbation::Outputs { .. } = perturb {
            self.layers.readout_gradient(step, saved, gradient, (tangents, self.groups))
        } else {
            (Vec::new(), Cut { gradient, tangents, groups: 1 })
        };
        (Derivative::new(vec![cut]), parameters)
    }

    /// Writes the forward gradient of every parameter that was perturbed.
    pub fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        derivative: &mut Derivative,
    ) -> Gradients {
        step.part(Part::Output);
        let parameters = self.layers.forward_gradient(step, saved, derivative, None);
        Gradients { input: None, parameters }
    }

    /// What meets between the input and the readout, in training.
    pub fn coupling(&self) -> Coupling {
        self.layers.coupling_before_readout()
    }

    /// Writes the loss of the logits `z` and its metrics, with factors on the losses of the classes if there are any.
    pub fn global_loss(
        &self,
        step: &mut StepBuilder<'_>,
        state: &OutputState,
        z: TensorId,
        (target, weights): (TensorId, Option<TensorId>),
        loss: Loss,
    ) -> GlobalLoss {
        step.part(Part::Output);
        let predictions = self.predictions;
        let counter = step.counter();
        let shape = step.shape(z).to_vec();
        let logits = step.observe("output.logits", z);
        let output = step.real("output.probabilities", &shape);
        let losses = step.activation("output.losses", &[predictions.classifiers]);
        step.push(WorkerLoss { z, target, weights, output, losses, predictions, loss });
        let mean = step.debug_tensor("output.loss", DType::Real, &[predictions.classifiers]);
        step.push(MeanWorkerLoss { losses, mean, nonfinite: state.nonfinite });
        step.push(AccumulateRows { x: losses, counter, total: state.loss });
        step.metric(LOSS, 0, state.loss, 0..predictions.classifiers);
        if let Some(decision) = self.decision(loss) {
            let wrong = state.wrong;
            step.push(CountErrors { output, target, counter, wrong, predictions, decision });
            step.metric(ERROR, 0, wrong, 0..1);
        }
        GlobalLoss { loss, target, weights, z, logits, output, mean }
    }

    /// Writes the gradient of the global loss with respect to the logits.
    pub fn gradient(&self, step: &mut StepBuilder<'_>, of: &GlobalLoss) -> TensorId {
        step.part(Part::Output);
        let GlobalLoss { loss, target, weights, z, output, .. } = *of;
        let dz = step.like("output.gradient", z);
        let (predictions, reduction) = (self.predictions, Reduction::Sum);
        step.push(LossGradient { z, output, target, weights, dz, predictions, loss, reduction });
        dz
    }

    /// Writes the backward rule from the gradient of the logits.
    pub fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dz: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        self.layers.backward(step, saved, dz, needs_grad)
    }
}
