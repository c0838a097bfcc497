//! Hidden units with their workers, and the output layer.

use anyhow::{Result, bail};
use bench_common::config::{UnitConfig, WorkersConfig};
use bench_common::unit::{BlockConfig, NeuronsConfig, OutputActivation, ReadoutConfig};
use bench_common::{Description, Method};
use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::ops;

use crate::layers::{Grid, Layers, Linear, Mode, side, uniform};

/// The network.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) units: Vec<Unit>,
    before: Layers,
    output: Linear,
    /// Parameters that are trained together: those of every unit and of the output layer in local methods, else all.
    pub(crate) groups: Vec<Vec<Var>>,
}

/// A hidden unit.
#[derive(Debug)]
pub(crate) struct Unit {
    layers: Layers,
    workers: Workers,
    transition: Layers,
}

#[derive(Debug)]
enum Workers {
    /// A linear layer of `count` times as many neurons as there are classes.
    Neurons { linear: Linear, count: usize, activation: OutputActivation },
    /// Each worker reads a run of channels of its own: weight `[workers, own, classes]`, bias `[workers, 1, classes]`.
    Readout { weight: Var, bias: Var, grid: Option<Grid>, dropout: f32 },
}

/// What a unit's layers and workers give.
pub(crate) struct Results {
    /// What the unit hands on, before `transition`.
    pub(crate) handed: Tensor,
    /// The workers' logits `[workers, batch, classes]`, where there was something to ask them for.
    pub(crate) logits: Option<Tensor>,
}

impl Network {
    pub(crate) fn new(description: &Description) -> Result<Self> {
        let local = description.method() != Method::Bp;
        let (network, classes) = (description.network(), description.classes);
        let (mut groups, mut shape) = (vec![], description.image().to_vec());
        let mut units = Vec::with_capacity(network.units.len());
        for config in &network.units {
            let mut parameters = Vec::new();
            let unit = Unit::new(config, shape, classes, local, &mut parameters)?;
            shape = unit.transition.shape.clone();
            units.push(unit);
            groups.push(parameters);
        }
        let mut parameters = Vec::new();
        let before = Layers::new(&network.output.layers, shape, &mut parameters)?;
        let features = before.shape.iter().product();
        let output = Linear::new(features, classes, true, &mut parameters)?;
        groups.push(parameters);
        if !local {
            groups = vec![groups.concat()];
        }
        Ok(Self { units, before, output, groups })
    }

    /// The output layer's logits of what the last unit hands on.
    pub(crate) fn logits(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let x = self.before.forward(x, mode)?.flatten_from(1)?;
        self.output.forward(&x, mode)
    }
}

impl Unit {
    fn new(
        config: &UnitConfig,
        shape: Vec<usize>,
        classes: usize,
        local: bool,
        parameters: &mut Vec<Var>,
    ) -> Result<Self> {
        let layers = Layers::new(&config.layers, shape, parameters)?;
        let shape = layers.shape.clone();
        let features: usize = shape.iter().product();
        let (workers, shape) = match config.workers {
            WorkersConfig::Neurons(NeuronsConfig { count, output_activation: activation }) => {
                let linear = Linear::new(features, count * classes, true, parameters)?;
                (Workers::Neurons { linear, count, activation }, vec![count * classes])
            }
            WorkersConfig::Readout(ReadoutConfig { count, grid, dropout })
            | WorkersConfig::Block(BlockConfig { count: count @ 1, grid, dropout }) => {
                let (grid, features) = match (grid, &shape[..]) {
                    (Some(grid), &[channels, height, width]) => {
                        let grid = side(grid)?;
                        (Some(Grid::new(height, width, grid)?), channels * grid * grid)
                    }
                    _ => (None, features),
                };
                let own = features / count;
                let weight = uniform(&[count, own, classes], own)?;
                let bias = Var::zeros((count, 1, classes), DType::F32, &Device::Cpu)?;
                if local {
                    parameters.extend([weight.clone(), bias.clone()]);
                }
                (Workers::Readout { weight, bias, grid, dropout: dropout as f32 }, shape)
            }
            WorkersConfig::Block(BlockConfig { count, .. }) => {
                bail!("{count} blocks in a unit are not compared")
            }
            WorkersConfig::Filters(_) => bail!("workers of filters are not compared"),
            WorkersConfig::Heads(_) => bail!("workers that are heads are not compared"),
        };
        Ok(Self {
            layers,
            workers,
            transition: Layers::new(&config.transition, shape, parameters)?,
        })
    }

    /// Number of workers.
    pub(crate) fn workers(&self) -> usize {
        match &self.workers {
            Workers::Neurons { count, .. } => *count,
            Workers::Readout { weight, .. } => weight.dims()[0],
        }
    }

    /// Layers and workers; readouts only if they are asked.
    pub(crate) fn forward(&self, x: &Tensor, mode: Mode, ask: bool) -> Result<Results> {
        let a = self.layers.forward(x, mode)?;
        match &self.workers {
            Workers::Neurons { linear, count, activation } => {
                let z = linear.forward(&a.flatten_from(1)?, mode)?;
                let (batch, width) = z.dims2()?;
                let logits = z.reshape((batch, *count, width / count))?;
                let handed = match activation {
                    OutputActivation::Output => {
                        ops::softmax(&logits, D::Minus1)?.reshape((batch, width))?
                    }
                    OutputActivation::Relu => z.relu()?,
                    OutputActivation::Sigmoid => ops::sigmoid(&z)?,
                    OutputActivation::Tanh => z.tanh()?,
                };
                let logits = ask.then(|| logits.transpose(0, 1)?.contiguous()).transpose()?;
                Ok(Results { handed, logits })
            }
            Workers::Readout { weight, bias, grid, dropout } => {
                if !ask {
                    return Ok(Results { handed: a, logits: None });
                }
                let x = grid.as_ref().map_or_else(|| Ok(a.clone()), |grid| grid.forward(&a))?;
                let x = x.reshape((x.dim(0)?, weight.dim(0)?, ()))?;
                let x = if *dropout > 0.0 { ops::dropout(&x, *dropout)? } else { x };
                let x = x.transpose(0, 1)?.contiguous()?;
                let logits = x.matmul(&mode.of(weight))?.broadcast_add(&mode.of(bias))?;
                Ok(Results { handed: a, logits: Some(logits) })
            }
        }
    }

    /// From the workers to the next unit.
    pub(crate) fn transition(&self, a: &Tensor, mode: Mode) -> Result<Tensor> {
        self.transition.forward(a, mode)
    }
}
