//! Fine-tuning and growing: a network learns the digits 0 to 4. Its two units, frozen, then serve a network with one unit
//! more that learns all ten digits from 100 images.

use lfnn_core::config::{NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
use lfnn_core::method::LFNN_L;
use lfnn_core::train::{Matching, Setup, Trainer};
use lfnn_cpu::Cpu;
use lfnn_data::{Dataset, DatasetName, Source, silent};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let digits = Dataset::load(&Source::named(DatasetName::Digits), ".".as_ref(), &silent)?;
    let data = digits.train.dataset()?;
    let cpu = Cpu::new(None)?;

    // Training on the first five digits.
    let labels = digits.train.labels();
    let rows: Vec<u32> =
        (0..).zip(labels).filter(|(_, label)| **label < 5).map(|(row, _)| row).collect();
    let trained_units = [
        UnitConfig::new().conv(32, 3).batch_norm().relu().readout(4).max_pool(2),
        UnitConfig::new().conv(64, 3).batch_norm().relu().readout(4).max_pool(2),
    ];
    let network = NetworkConfig::new(trained_units.clone());
    let training = TrainingConfig::new(32, 8, OptimizerConfig::adamw(0.005));
    let setup = Setup::new(&network, &training, LFNN_L);
    let mut trainer = Trainer::new(&cpu, &setup, &data.select(&rows)?)?;
    trainer.fit(|_| ())?;
    let state = trainer.state()?;

    let mut units = trained_units.map(UnitConfig::frozen).to_vec();
    units.push(UnitConfig::new().flatten().linear(64).relu().readout(4));
    let network = NetworkConfig::new(units);
    let (few, test) = data.split(0.93, 7)?;
    let training = TrainingConfig::new(20, 40, OptimizerConfig::adamw(0.005));
    let mut trainer = Trainer::new(&cpu, &Setup::new(&network, &training, LFNN_L), &few)?;
    // The new unit is missing, and the output layer has another shape: they begin anew.
    println!("{}", trainer.load_weights(&state, Matching::ByName)?);
    // The frozen units expect inputs as they were in their training.
    trainer.load_normalization(&state)?;
    trainer.fit(|_| ())?;
    let error = trainer.evaluate(&test)?.error().unwrap_or(100.0);
    println!("{} images to learn from, test error {error:.1} %", few.len());
    assert!(error < 20.0, "an error of {error} %");
    Ok(())
}
