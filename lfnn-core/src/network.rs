//! A network: hidden units, then the output layer.

use crate::config::{ConfigError, NetworkConfig, OutputConfig, Task};
use crate::layer::{
    Derivative, Extent, FlattenLayer, Gradients, Layer, LayerBuilder, LinearLayer, NeedsGrad,
    ParameterFree, ParameterSpec, Parametric, Perturbation, Saved, Sequential,
};
use crate::metric::{Metric, MetricScope, Per};
use crate::program::{
    AccumulateRows, Activate, Activation, CountErrors, DType, Decision, Loss, LossGradient,
    MeanWorkerLoss, Part, Predictions, ProgramSet, Reduction, Softmax, TensorId, WorkerLoss,
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
    extent: Extent,
}

/// The output layer: it learns from the global loss alone.
#[derive(Debug)]
pub struct OutputLayer {
    layers: Sequential,
    predictions: Predictions,
}

/// A parameter of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkParameter {
    /// The parameter, with its full name.
    pub spec: ParameterSpec,
    /// Whether it belongs to a readout.
    pub readout: bool,
    /// The unit that it belongs to, from 1; none for the output layer.
    pub unit: Option<usize>,
}

/// The tensors of a network's parameters and buffers in a module.
#[derive(Clone, Debug)]
pub struct NetworkTensors {
    /// For each unit, in the order of [`Unit::parameters`].
    pub units: Vec<Vec<TensorId>>,
    /// The output layer's.
    pub output: Vec<TensorId>,
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

/// What the output layer's forward rule leaves.
#[derive(Clone, Debug)]
pub struct OutputSaved {
    layers: Saved,
    output: TensorId,
    target: TensorId,
    /// Per-sample losses, `[batch, classifiers]`.
    pub losses: TensorId,
    /// Logits, `[batch, classifiers · classes]`.
    pub logits: TensorId,
}

impl Network {
    /// The network for inputs of shape `input` (without the batch) and this many classes (numbers to
    /// predict, in regression).
    ///
    /// # Errors
    /// A setting out of range, or layers that do not fit together, with the path of the setting.
    pub fn new(
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
        let mut builder = LayerBuilder::default();
        builder.admit(input, "network")?;
        let mut units: Vec<Unit> = Vec::new();
        for (index, unit) in config.units.iter().enumerate() {
            let shape = units.last().map_or(input, Unit::output_shape).to_vec();
            let place = UnitPlace {
                index,
                input: &shape,
                input_per_classifier: classifiers > 1 && index > 0,
                classifiers,
                classes,
                probabilities,
            };
            units.push(Unit::new(&mut builder, unit, place)?);
        }
        let shape = units.last().map_or(input, Unit::output_shape).to_vec();
        let predictions = Predictions { classifiers, workers: 1, classes };
        let per_classifier = classifiers > 1 && !units.is_empty();
        let output =
            OutputLayer::new(&mut builder, &config.output, &shape, predictions, per_classifier)?;
        let extent = builder.into_extent();
        Ok(Self { config: config.clone(), input: input.to_vec(), units, output, extent })
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
    pub fn parameters(&self) -> Vec<NetworkParameter> {
        let units = self.units.iter().flat_map(|unit| {
            unit.parameters().into_iter().map(|p| NetworkParameter {
                spec: p.spec,
                readout: p.readout,
                unit: Some(unit.number()),
            })
        });
        let output = self.output.parameters().into_iter().map(|spec| NetworkParameter {
            spec,
            readout: false,
            unit: None,
        });
        units.chain(output).collect()
    }

    /// Number of trainable parameters: those that prediction needs, and those of readouts.
    pub fn parameter_counts(&self) -> (usize, usize) {
        let mut counts = (0, 0);
        for parameter in self.parameters().iter().filter(|p| p.spec.trainable) {
            let count = if parameter.readout { &mut counts.1 } else { &mut counts.0 };
            *count += parameter.spec.len();
        }
        counts
    }

    /// Adds a tensor for every parameter and buffer.
    pub fn declare(&self, set: &mut ProgramSet) -> NetworkTensors {
        let mut declare = |spec: ParameterSpec| set.persistent(spec.name, DType::Real, &spec.shape);
        let units = self
            .units
            .iter()
            .map(|unit| unit.parameters().into_iter().map(|p| declare(p.spec)).collect())
            .collect();
        let output = self.output.parameters().into_iter().map(declare).collect();
        NetworkTensors { units, output }
    }
}

impl NetworkTensors {
    /// All tensors, in the order of [`Network::parameters`].
    pub fn iter(&self) -> impl Iterator<Item = TensorId> {
        self.units.iter().flatten().chain(&self.output).copied()
    }
}

impl OutputSaved {
    /// Outputs p, `[batch, classifiers · classes]`.
    pub fn probabilities(&self) -> TensorId {
        self.output
    }
}

impl OutputLayer {
    fn new(
        builder: &mut LayerBuilder,
        config: &OutputConfig,
        input: &[usize],
        predictions: Predictions,
        per_classifier: bool,
    ) -> Result<Self, ConfigError> {
        let path = "network.output.layers";
        let fail = |message: String| ConfigError::new(path, message);
        let mut layers = builder.sequential(&config.layers, input, "layer", path)?;
        if predictions.classifiers > 1 && layers.depth() > 0 {
            return Err(fail(
                "one-vs-all networks share no weights: expected no layer with weights".into(),
            ));
        }
        if layers.output_shape().len() == 3 {
            let flatten = FlattenLayer::new(layers.output_shape()).map_err(fail)?;
            layers.push("", Box::new(ParameterFree(flatten)));
        }
        let groups = if per_classifier { predictions.classifiers } else { 1 };
        let linear = LinearLayer::new(layers.output_shape(), predictions.features(), groups, true);
        let linear = linear.and_then(Parametric::new).map_err(fail)?;
        builder.admit(linear.output_shape(), path)?;
        layers.push("", Box::new(linear));
        Ok(Self { layers, predictions })
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

    /// Parameters and buffers, with full names.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        let named = |mut spec: ParameterSpec| {
            spec.name = format!("output.{}", spec.name);
            spec
        };
        self.layers.parameters().into_iter().map(named).collect()
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

    /// Adds the sums that outlive a step, named `{prefix}/output.…`.
    pub fn declare_state(&self, set: &mut ProgramSet, prefix: &str) -> OutputState {
        let name = |name: &str| format!("{prefix}/output.{name}");
        OutputState {
            nonfinite: set.persistent(name("fault"), DType::U32, &[1]),
            loss: set.persistent(name("loss"), DType::Real, &[self.predictions.classifiers]),
            wrong: set.persistent(name("wrong"), DType::Real, &[1]),
        }
    }

    /// Writes the forward rule, the loss and its metrics.
    pub fn forward(
        &self,
        step: &mut StepBuilder<'_>,
        tensors: &[TensorId],
        state: &OutputState,
        x: TensorId,
        target: TensorId,
        loss: Loss,
    ) -> OutputSaved {
        step.part(Part::Output);
        let layers = self.layers.forward(step, tensors, x);
        self.global_loss(step, state, layers, target, loss)
    }

    /// Writes the forward rule without labels: the logits and the outputs p, both `[batch, classifiers · classes]`.
    pub fn predict(
        &self,
        step: &mut StepBuilder<'_>,
        tensors: &[TensorId],
        x: TensorId,
        loss: Loss,
    ) -> (TensorId, TensorId) {
        step.part(Part::Output);
        let z = self.layers.forward(step, tensors, x).y;
        if loss == Loss::MeanSquared {
            return (z, z);
        }
        let y = step.like("output.probabilities", z);
        if matches!(loss, Loss::Binary { .. }) {
            step.push(Activate { x: z, y, function: Activation::Sigmoid });
        } else {
            step.push(Softmax { x: z, y, width: self.predictions.classes });
        }
        (z, y)
    }

    /// Writes the forward rule with random directions added, layer by layer (see [`Perturbation`]), from the
    /// input's tangent `dx`; none stands for zero. The tangent of the logits comes back.
    #[allow(clippy::too_many_arguments, reason = "those of `forward`, and a tangent")]
    pub fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        tensors: &[TensorId],
        state: &OutputState,
        (x, dx): (TensorId, Option<TensorId>),
        target: TensorId,
        loss: Loss,
        perturb: Perturbation,
    ) -> (OutputSaved, Option<TensorId>) {
        step.part(Part::Output);
        let (layers, dz) = self.layers.jvp_with_noise(step, tensors, x, dx, perturb);
        (self.global_loss(step, state, layers, target, loss), dz)
    }

    /// Writes the forward gradient of every parameter.
    pub fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        tensors: &[TensorId],
        record: &OutputSaved,
        derivative: &mut Derivative,
    ) -> Gradients {
        step.part(Part::Output);
        let parameters = self.layers.forward_gradient(step, tensors, &record.layers, derivative);
        Gradients { input: None, parameters }
    }

    /// Whether a logit of a sample depends on other samples, in training.
    pub fn couples_batch(&self) -> bool {
        self.layers.couples_batch()
    }

    /// Writes the loss and its metrics.
    fn global_loss(
        &self,
        step: &mut StepBuilder<'_>,
        state: &OutputState,
        layers: Saved,
        target: TensorId,
        loss: Loss,
    ) -> OutputSaved {
        let predictions = self.predictions;
        let z = layers.y;
        let clock = step.clock();
        let shape = step.shape(z).to_vec();
        step.observe("output.logits", z);
        let output = step.real("output.probabilities", &shape);
        let losses = step.activation("output.losses", &[predictions.classifiers]);
        step.push(WorkerLoss { z, target, output, losses, predictions, loss });
        let mean = step.debug_tensor("output.loss", DType::Real, &[predictions.classifiers]);
        step.push(MeanWorkerLoss { losses, mean, nonfinite: state.nonfinite });
        step.push(AccumulateRows { x: losses, clock, total: state.loss });
        step.metric(LOSS, 0, state.loss, 0..predictions.classifiers);
        if let Some(decision) = self.decision(loss) {
            step.push(CountErrors {
                output,
                target,
                clock,
                wrong: state.wrong,
                predictions,
                decision,
            });
            step.metric(ERROR, 0, state.wrong, 0..1);
        }
        OutputSaved { layers, output, target, losses, logits: z }
    }

    /// Writes the gradient of the global loss with respect to the logits.
    pub fn gradient(
        &self,
        step: &mut StepBuilder<'_>,
        record: &OutputSaved,
        loss: Loss,
    ) -> TensorId {
        step.part(Part::Output);
        let dz = step.like("output.gradient", record.logits);
        step.push(LossGradient {
            z: record.logits,
            output: record.output,
            target: record.target,
            dz,
            predictions: self.predictions,
            loss,
            reduction: Reduction::Sum,
        });
        dz
    }

    /// Writes the backward rule from the gradient of the logits.
    pub fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        tensors: &[TensorId],
        record: &OutputSaved,
        dz: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        self.layers.backward(step, tensors, &record.layers, dz, needs_grad)
    }
}
