//! A layer of one's own, made of existing operations, in a network that learns the digits.

use lfnn_core::config::{LayerConfig, NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
use lfnn_core::method::LFNN_L;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use lfnn_data::{Dataset, DatasetName, Source, silent};

#[path = "own_layer/dense.rs"]
mod dense;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let digits = Dataset::load(&Source::named(DatasetName::Digits), ".".as_ref(), &silent)?;
    let (train, test) = digits.train.dataset()?.split(0.2, 7)?;
    let dense = |filters| {
        let body = vec![LayerConfig::conv(filters, 3), LayerConfig::Relu];
        LayerConfig::custom("dense", dense::DenseConfig(body))
    };
    let network = NetworkConfig::new([
        UnitConfig::new().conv(8, 3).relu().layer(dense(8)).readout(4).max_pool(2),
        UnitConfig::new().layer(dense(16)).readout(4).max_pool(2),
    ]);
    let training = TrainingConfig::new(32, 8, OptimizerConfig::adam(0.005));
    let setup = Setup::new(&network, &training, LFNN_L);
    let mut trainer = Trainer::new(&Cpu::new(None)?, &setup, &train)?;
    trainer.fit(|epoch| println!("{epoch}"))?;
    let error = trainer.evaluate(&test)?.error().unwrap_or(100.0);
    println!("test error {error:.1} %");
    assert!(error < 8.0, "an error of {error} %");
    Ok(())
}
