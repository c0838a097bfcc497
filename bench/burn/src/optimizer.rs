//! burn's optimisers with the settings of a description.

use bench_common::config::OptimizerConfig;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, SgdConfig};

/// An optimiser, and its learning rate.
pub(crate) fn optimizer(config: &OptimizerConfig) -> (ModuleOptimizer, f64) {
    let decay = |penalty: f64| WeightDecayConfig::new(penalty as f32);
    match config {
        OptimizerConfig::Adam(config) => {
            let adam = AdamConfig::new()
                .with_beta_1(config.betas[0] as f32)
                .with_beta_2(config.betas[1] as f32)
                .with_epsilon(config.epsilon as f32)
                .with_weight_decay(
                    (config.weight_decay != 0.0).then(|| decay(config.weight_decay)),
                );
            (adam.init(), config.lr)
        }
        OptimizerConfig::Adamw(config) => {
            let adam = AdamWConfig::new()
                .with_beta_1(config.betas[0] as f32)
                .with_beta_2(config.betas[1] as f32)
                .with_epsilon(config.epsilon as f32)
                .with_weight_decay(config.weight_decay as f32);
            (adam.init(), config.lr)
        }
        &OptimizerConfig::Sgd { lr, momentum, nesterov, weight_decay } => {
            let gathered = MomentumConfig::new()
                .with_momentum(momentum)
                .with_dampening(0.0)
                .with_nesterov(nesterov);
            let sgd = SgdConfig::new()
                .with_momentum((momentum != 0.0).then_some(gathered))
                .with_weight_decay((weight_decay != 0.0).then(|| decay(weight_decay)));
            (sgd.init(), lr)
        }
    }
}
