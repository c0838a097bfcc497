//! Hidden units with their workers, and the output layer.

use anyhow::{Result, bail};
use bench_common::Description;
use bench_common::config::{UnitConfig, WorkersConfig};
use bench_common::unit::{BlockConfig, NeuronsConfig, OutputActivation, ReadoutConfig};
use burn::module::{Initializer, Module, ModuleVisitor, Param};
use burn::nn::pool::AdaptiveAvgPool2d;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::activation::{relu, sigmoid, softmax, tanh};
use burn::tensor::{Device, Tensor};

use crate::layers::{Layers, Value, on_grid};

/// The network.
#[derive(Module, Debug)]
pub(crate) struct Network {
    pub(crate) units: Vec<Unit>,
    pub(crate) output: Output,
}

/// The layers after the last unit, and the linear map to the classes.
#[derive(Module, Debug)]
pub(crate) struct Output {
    before: Layers,
    linear: Linear,
}

/// A hidden unit.
#[derive(Module, Debug)]
pub(crate) struct Unit {
    layers: Layers,
    workers: Workers,
    transition: Layers,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has few units")]
enum Workers {
    Neurons(Neurons),
    Readout(Readout),
}

/// A linear layer of `count` times as many neurons as there are classes.
#[derive(Module, Debug)]
struct Neurons {
    linear: Linear,
    count: usize,
    #[module(skip)]
    activation: OutputActivation,
}

/// Each worker reads a run of channels of its own.
#[derive(Module, Debug)]
struct Readout {
    /// `[workers, own, classes]`
    weight: Param<Tensor<3>>,
    /// `[workers, 1, classes]`
    bias: Param<Tensor<3>>,
    grid: Option<AdaptiveAvgPool2d>,
    dropout: Dropout,
}

/// Number of parameters of a module that have gradients: its own count has running statistics too.
pub(crate) fn trained(module: &impl Module) -> usize {
    struct Count(usize);
    impl ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if parameter.is_require_grad() {
                self.0 += parameter.shape().num_elements();
            }
        }
    }
    let mut count = Count(0);
    module.visit(&mut count);
    count.0
}

impl Network {
    pub(crate) fn new(description: &Description, device: &Device) -> Result<Self> {
        let (network, classes) = (description.network(), description.classes);
        let mut shape = description.image().to_vec();
        let mut units = Vec::with_capacity(network.units.len());
        for config in &network.units {
            let unit;
            (unit, shape) = Unit::new(config, shape, classes, device)?;
            units.push(unit);
        }
        let (before, shape) = Layers::new(&network.output.layers, shape, device)?;
        let linear = LinearConfig::new(shape.iter().product(), classes).init(device);
        Ok(Self { units, output: Output { before, linear } })
    }

    /// The output layer's logits, if nothing is asked of the workers.
    pub(crate) fn logits(&self, images: Tensor<4>) -> Result<Tensor<2>> {
        let mut x = Value::Image(images);
        for unit in &self.units {
            let (handed, _) = unit.forward(x, false)?;
            x = unit.transition(handed)?;
        }
        self.output.logits(x)
    }
}

impl Output {
    /// Logits `[batch, classes]` of what the last unit hands on.
    pub(crate) fn logits(&self, x: Value) -> Result<Tensor<2>> {
        Ok(self.linear.forward(self.before.forward(x)?.flat()))
    }
}

impl Unit {
    /// A unit, and the shape of what it hands on.
    fn new(
        config: &UnitConfig,
        shape: Vec<usize>,
        classes: usize,
        device: &Device,
    ) -> Result<(Self, Vec<usize>)> {
        let (layers, shape) = Layers::new(&config.layers, shape, device)?;
        let features: usize = shape.iter().product();
        let (workers, shape) = match config.workers {
            WorkersConfig::Neurons(NeuronsConfig { count, output_activation: activation }) => {
                let linear = LinearConfig::new(features, count * classes).init(device);
                let neurons = Neurons { linear, count, activation };
                (Workers::Neurons(neurons), vec![count * classes])
            }
            WorkersConfig::Readout(ReadoutConfig { count, grid, dropout })
            | WorkersConfig::Block(BlockConfig { count: count @ 1, grid, dropout }) => {
                let grid = grid.filter(|_| shape.len() == 3);
                let own = grid.map_or(features, |grid| shape[0] * grid.0[0] * grid.0[1]) / count;
                let bound = 1.0 / (own.max(1) as f64).sqrt();
                let uniform = Initializer::Uniform { min: -bound, max: bound };
                let readout = Readout {
                    weight: uniform.init([count, own, classes], device),
                    bias: Initializer::Zeros.init([count, 1, classes], device),
                    grid: grid.map(on_grid),
                    dropout: DropoutConfig::new(dropout).init(),
                };
                (Workers::Readout(readout), shape)
            }
            WorkersConfig::Block(BlockConfig { count, .. }) => {
                bail!("{count} blocks in a unit are not compared")
            }
            WorkersConfig::Filters(_) => bail!("workers of filters are not compared"),
            WorkersConfig::Heads(_) => bail!("workers that are heads are not compared"),
        };
        let (transition, shape) = Layers::new(&config.transition, shape, device)?;
        Ok((Self { layers, workers, transition }, shape))
    }

    /// Number of workers.
    pub(crate) fn workers(&self) -> usize {
        match &self.workers {
            Workers::Neurons(neurons) => neurons.count,
            Workers::Readout(readout) => readout.weight.dims()[0],
        }
    }

    /// Number of head parameters, which backpropagation does not train.
    pub(crate) fn readouts(&self) -> usize {
        match &self.workers {
            Workers::Neurons(_) => 0,
            Workers::Readout(readout) => trained(readout),
        }
    }

    /// What layers and workers hand on, and the workers' logits `[workers, batch, classes]` if they are asked.
    pub(crate) fn forward(&self, x: Value, ask: bool) -> Result<(Value, Option<Tensor<3>>)> {
        let a = self.layers.forward(x)?;
        match &self.workers {
            Workers::Neurons(Neurons { linear, count, activation }) => {
                let z = linear.forward(a.flat());
                let [batch, width] = z.dims();
                let logits: Tensor<3> = z.clone().reshape([batch, *count, width / count]);
                let handed = match activation {
                    OutputActivation::Output => softmax(logits.clone(), 2).reshape([batch, width]),
                    OutputActivation::Relu => relu(z),
                    OutputActivation::Sigmoid => sigmoid(z),
                    OutputActivation::Tanh => tanh(z),
                };
                Ok((Value::Vector(handed), ask.then(|| logits.swap_dims(0, 1))))
            }
            Workers::Readout(readout) => {
                let logits = ask.then(|| readout.forward(a.clone()));
                Ok((a, logits))
            }
        }
    }

    /// From the workers to the next unit.
    pub(crate) fn transition(&self, a: Value) -> Result<Value> {
        self.transition.forward(a)
    }
}

impl Readout {
    fn forward(&self, a: Value) -> Tensor<3> {
        let x = match (&self.grid, a) {
            (Some(grid), Value::Image(a)) => Value::Image(grid.forward(a)),
            (_, a) => a,
        };
        let x = self.dropout.forward(x.flat());
        let ([batch, _], [workers, own, _]) = (x.dims(), self.weight.dims());
        let x: Tensor<3> = x.reshape([batch, workers, own]).swap_dims(0, 1);
        x.matmul(self.weight.val()) + self.bias.val()
    }
}
