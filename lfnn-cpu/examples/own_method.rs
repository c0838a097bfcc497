//! A training method of one's own, on the digits.

use lfnn_core::config::{NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use lfnn_data::{Dataset, DatasetName, Source, silent};

#[path = "own_method/method.rs"]
mod method;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let digits = Dataset::load(&Source::named(DatasetName::Digits), ".".as_ref(), &silent)?;
    let (train, test) = digits.train.dataset()?.split(0.2, 7)?;
    let network = NetworkConfig::new([
        UnitConfig::new().conv(16, 3).relu().readout(4).max_pool(2),
        UnitConfig::new().conv(32, 3).relu().readout(4).max_pool(2),
    ]);
    let training = TrainingConfig::new(32, 8, OptimizerConfig::adam(0.005));
    let setup = Setup::new(&network, &training, method::LAST_UNIT_GLOBAL);
    let mut trainer = Trainer::new(&Cpu::new(None)?, &setup, &train)?;
    trainer.fit(|epoch| println!("{epoch}"))?;
    let error = trainer.evaluate(&test)?.error().unwrap_or(100.0);
    println!("test error {error:.1} %");
    assert!(error < 8.0, "an error of {error} %");
    Ok(())
}
