//! Early exit: a prediction stops at the first unit whose best worker is sure enough.

use lfnn_core::config::{NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
use lfnn_core::method::LFNN_L;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use lfnn_data::{DatasetName, Source, silent};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = Source::named(DatasetName::Digits);
    let digits = lfnn_data::Dataset::load(&source, ".".as_ref(), &silent)?;
    let (train, validation) = digits.train.dataset()?.split(0.2, 1)?;
    let test = digits.test.dataset()?;

    let unit = |filters| UnitConfig::new().conv(filters, 3).batch_norm().relu().readout(4);
    let network = NetworkConfig::new([unit(16).max_pool(2), unit(32), unit(64)]);
    let training = TrainingConfig::new(32, 10, OptimizerConfig::adamw(0.005));
    let cpu = Cpu::new(None)?;
    let mut trainer = Trainer::new(&cpu, &Setup::new(&network, &training, LFNN_L), &train)?;
    trainer.fit(|_| ())?;

    // Which worker speaks for a unit is chosen on images that were not learnt from.
    let mut early = trainer.model()?.early_exit(&cpu, 64, &validation)?;
    let points = early.evaluate(&test, &[0.5, 0.9, 0.99, 1.1])?;
    for point in &points {
        println!(
            "from {:.2} on: error {:.2} %, {:.0} % of the arithmetic, exits {:?}",
            point.threshold,
            point.error,
            100.0 * point.arithmetic,
            point.exits
        );
    }
    let quick = early.predict(test.inputs(), 0.99)?;
    println!("the first image leaves the network at unit {}", quick.exits[0] + 1);
    assert!(points[2].arithmetic < 0.8 && points[2].error < points[3].error + 2.0);
    Ok(())
}
