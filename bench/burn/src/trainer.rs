//! Training steps and predictions on a batch of random images.

use anyhow::{Context, Result};
use bench_common::{Contender, Description, Method};
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};

use crate::layers::Value;
use crate::losses;
use crate::network::{Network, trained};
use crate::optimizer::optimizer;

/// A network in training.
pub(crate) struct Trainer {
    /// burn's optimisers take a module and give it back; none is left after a step that failed.
    network: Option<Network>,
    /// One for every unit and one for the output layer in local methods, else one for all.
    optimizers: Vec<ModuleOptimizer>,
    lr: f64,
    method: Method,
    /// Leaders of every unit.
    leaders: Vec<usize>,
    lambda: f32,
    images: Tensor<4>,
    labels: Tensor<1, Int>,
}

impl Trainer {
    pub(crate) fn new(description: &Description) -> Result<Self> {
        let device = Device::flex().autodiff();
        let network = Network::new(description, &device)?;
        let leadership = description.leadership();
        let leaders: Vec<usize> =
            network.units.iter().map(|unit| leadership.leaders(unit.workers())).collect();
        let method = description.method();
        let (one, lr) = optimizer(&description.training().optimizer);
        let optimizers = match method {
            Method::Bp => vec![one],
            Method::LfnnL => vec![one; leaders.len() + 1],
        };
        let (batch, [channels, height, width]) = (description.batch(), description.image());
        let normal = Distribution::Normal(0.0, 1.0);
        let images = Tensor::random([batch, channels, height, width], normal, &device);
        let labels: Vec<i64> = (0..batch).map(|i| (i % description.classes) as i64).collect();
        let labels = Tensor::from_data(TensorData::new(labels, [batch]), &device);
        let lambda = leadership.lambda as f32;
        let network = Some(network);
        Ok(Self { network, optimizers, lr, method, leaders, lambda, images, labels })
    }

    fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("a step has failed")
    }

    /// The global loss of the batch.
    fn global_loss(&self, network: &Network) -> Result<Tensor<1>> {
        Ok(losses::global(network.logits(self.images.clone())?, &self.labels))
    }

    /// Units one after the other, each with its own backward pass and update, so that no more than one unit's
    /// activations are kept.
    fn local_step(&mut self, network: Network) -> Result<Network> {
        let Network { units: before, output } = network;
        let mut units = Vec::with_capacity(before.len());
        let mut x = Value::Image(self.images.clone());
        for (i, unit) in before.into_iter().enumerate() {
            let (handed, logits) = unit.forward(x, true)?;
            x = unit.transition(handed.detach())?;
            let logits = logits.context("workers that were asked gave no logits")?;
            let loss = losses::local(logits, &self.labels, self.leaders[i], self.lambda)?;
            let gradients = GradientsParams::from_grads(loss.backward(), &unit);
            units.push(self.optimizers[i].step(self.lr, unit, gradients));
        }
        let loss = losses::global(output.logits(x)?, &self.labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &output);
        let output = self.optimizers[self.leaders.len()].step(self.lr, output, gradients);
        Ok(Network { units, output })
    }
}

impl Contender for Trainer {
    fn step(&mut self) -> Result<()> {
        let network = self.network.take().context("a step has failed")?;
        self.network = Some(match self.method {
            Method::LfnnL => self.local_step(network)?,
            Method::Bp => {
                let gradients = self.global_loss(&network)?.backward();
                let gradients = GradientsParams::from_grads(gradients, &network);
                self.optimizers[0].step(self.lr, network, gradients)
            }
        });
        Ok(())
    }

    fn loss(&self) -> Result<f32> {
        Ok(self.global_loss(self.network()?)?.into_scalar())
    }

    fn infer(&self) -> Result<()> {
        // The CPU has computed it when it is there. Without autodiff, layers do as in evaluation.
        self.network()?.valid().logits(self.images.clone().without_autodiff())?;
        Ok(())
    }

    fn parameters(&self) -> usize {
        let Some(network) = &self.network else { return 0 };
        let readouts: usize = network.units.iter().map(|unit| unit.readouts()).sum();
        trained(network) - if self.method == Method::Bp { readouts } else { 0 }
    }
}
