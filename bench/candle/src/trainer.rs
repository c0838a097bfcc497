//! Training steps and predictions on a batch of random images.

use anyhow::Result;
use bench_common::{Contender, Description, Method};
use candle_core::{Device, Tensor};
use candle_nn::loss::cross_entropy;

use crate::layers::Mode;
use crate::losses;
use crate::network::Network;
use crate::optimizer::Optimizer;

/// A network in training.
pub(crate) struct Trainer {
    network: Network,
    /// One for each group of parameters.
    optimizers: Vec<Optimizer>,
    method: Method,
    /// Leaders of every unit.
    leaders: Vec<usize>,
    lambda: f64,
    images: Tensor,
    labels: Tensor,
}

impl Trainer {
    pub(crate) fn new(description: &Description) -> Result<Self> {
        let network = Network::new(description)?;
        let optimizer = &description.training().optimizer;
        let optimizers = network
            .groups
            .iter()
            .map(|group| Optimizer::new(optimizer, group.clone()))
            .collect::<Result<_>>()?;
        let leadership = description.leadership();
        let leaders = network.units.iter().map(|unit| leadership.leaders(unit.workers())).collect();
        let (batch, [channels, height, width]) = (description.batch(), description.image());
        let device = Device::Cpu;
        let images = Tensor::randn(0.0f32, 1.0, (batch, channels, height, width), &device)?;
        let classes = description.classes as u32;
        let labels: Vec<u32> = (0..batch as u32).map(|i| i % classes).collect();
        let labels = Tensor::from_vec(labels, batch, &device)?;
        let (method, lambda) = (description.method(), leadership.lambda);
        Ok(Self { network, optimizers, method, leaders, lambda, images, labels })
    }

    /// What the last unit hands on, if nothing is asked of the workers.
    fn hidden(&self, mode: Mode) -> Result<Tensor> {
        let mut x = self.images.clone();
        for unit in &self.network.units {
            x = unit.transition(&unit.forward(&x, mode, false)?.handed, mode)?;
        }
        Ok(x)
    }

    /// The global loss of what the last unit hands on.
    fn global_loss(&self, x: &Tensor) -> Result<Tensor> {
        Ok(cross_entropy(&self.network.logits(x, Mode::Train)?, &self.labels)?)
    }

    /// Units one after the other, each with its own backward pass and update, so that no more than one unit's
    /// activations are kept.
    fn local_step(&mut self) -> Result<()> {
        let mode = Mode::Train;
        let mut x = self.images.clone();
        for (i, unit) in self.network.units.iter().enumerate() {
            let results = unit.forward(&x, mode, true)?;
            if let Some(logits) = &results.logits {
                let loss = losses::local(logits, &self.labels, self.leaders[i], self.lambda)?;
                self.optimizers[i].step(&loss.backward()?)?;
            }
            x = unit.transition(&results.handed.detach(), mode)?.detach();
        }
        let gradients = self.global_loss(&x)?.backward()?;
        self.optimizers[self.leaders.len()].step(&gradients)
    }
}

impl Contender for Trainer {
    fn step(&mut self) -> Result<()> {
        match self.method {
            Method::LfnnL => self.local_step(),
            Method::Bp => {
                let gradients = self.global_loss(&self.hidden(Mode::Train)?)?.backward()?;
                self.optimizers[0].step(&gradients)
            }
        }
    }

    fn loss(&self) -> Result<f32> {
        Ok(self.global_loss(&self.hidden(Mode::Train)?)?.to_scalar()?)
    }

    fn infer(&self) -> Result<()> {
        // The CPU has computed it when it is there.
        self.network.logits(&self.hidden(Mode::Predict)?, Mode::Predict)?;
        Ok(())
    }

    fn parameters(&self) -> usize {
        self.network.groups.iter().flatten().map(|parameter| parameter.elem_count()).sum()
    }
}
