//! Fine-tuning and growing: a network learns the digits 0 to 4. Its two units, frozen, then serve a network with one unit
//! more that learns all ten digits from 100 images.

use lfnn_core::config::{NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
use lfnn_core::data::Dataset;
use lfnn_core::method::LFNN_L;
use lfnn_core::train::{Matching, Setup, Trainer};
use lfnn_cpu::Cpu;
use ndarray::Axis;

#[path = "data/digits.rs"]
mod digits;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (images, labels) = digits::digits()?;
    let cpu = Cpu::new(None)?;

    // Training on the first five digits.
    let rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] < 5).collect();
    let (few_images, few_labels) = (images.select(Axis(0), &rows), labels.select(Axis(0), &rows));
    let few = Dataset::classification(few_images.view(), few_labels.view())?;
    let trained_units = [
        UnitConfig::new().conv(32, 3).batch_norm().relu().readout(4).max_pool(2),
        UnitConfig::new().conv(64, 3).batch_norm().relu().readout(4).max_pool(2),
    ];
    let network = NetworkConfig::new(trained_units.clone());
    let training = TrainingConfig::new(32, 8, OptimizerConfig::adamw(0.005));
    let mut trainer = Trainer::new(&cpu, &Setup::new(&network, &training, LFNN_L), &few)?;
    trainer.fit(|_| ())?;
    let state = trainer.state()?;

    // Workers' heads and the output layer were for five classes: of another shape, they begin anew.
    let mut units = trained_units.map(UnitConfig::frozen).to_vec();
    units.push(UnitConfig::new().flatten().linear(64).relu().readout(4));
    let network = NetworkConfig::new(units);
    let (few, test) = Dataset::classification(images.view(), labels.view())?.split(0.93, 7)?;
    let training = TrainingConfig::new(20, 40, OptimizerConfig::adamw(0.005));
    let mut trainer = Trainer::new(&cpu, &Setup::new(&network, &training, LFNN_L), &few)?;
    println!("{}", trainer.load_weights(&state, Matching::ByName)?);
    // The frozen units expect inputs as they were in their training.
    trainer.load_normalization(&state)?;
    trainer.fit(|_| ())?;
    let error = trainer.evaluate(&test)?.error().unwrap_or(100.0);
    println!("{} images to learn from, test error {error:.1} %", few.len());
    assert!(error < 20.0, "an error of {error} %");
    Ok(())
}
