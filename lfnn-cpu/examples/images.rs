//! Images of bytes: a convolutional network on handwritten digits, with a learning rate that rises and falls.

use lfnn_core::config::{
    Augmentation, NetworkConfig, OptimizerConfig, ScheduleConfig, TrainingConfig, UnitConfig,
};
use lfnn_core::method::LFNN_L;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use lfnn_data::{DatasetName, Source, silent};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 8×8 pixels, compiled into the data crate: no files.
    let source = Source::named(DatasetName::Digits);
    let digits = lfnn_data::Dataset::load(&source, ".".as_ref(), &silent)?;
    let (train, test) = (digits.train.dataset()?, digits.test.dataset()?);

    let network = NetworkConfig::new([
        UnitConfig::new().conv(32, 3).batch_norm().relu().readout(4).max_pool(2),
        UnitConfig::new().conv(64, 3).batch_norm().relu().readout(4).max_pool(2),
    ]);
    let training = TrainingConfig::new(32, 8, OptimizerConfig::adamw(0.01));
    let training = TrainingConfig { schedule: ScheduleConfig::cosine(), ..training };
    let augmentation = Augmentation { crop_padding: 1, ..Augmentation::default() };
    let setup = Setup { augmentation, ..Setup::new(&network, &training, LFNN_L) };
    let cpu = Cpu::new(None)?;
    let mut trainer = Trainer::new(&cpu, &setup, &train)?;
    trainer.fit(|epoch| println!("{epoch}"))?;

    // The test images are another data set than the one on the device: the model evaluates any.
    let metrics = trainer.model()?.on(&cpu, 128)?.evaluate(&test)?;
    let error = metrics.error().unwrap_or(100.0);
    println!("{} test images, error {error:.2} %", metrics.examples);
    for (unit, metrics) in metrics.units.iter().enumerate() {
        println!(
            "unit {}: errors of its workers, % {:.2?}",
            unit + 1,
            metrics.workers("worker_errors")
        );
    }
    assert!(error < 5.0, "an error of {error} %");
    Ok(())
}
