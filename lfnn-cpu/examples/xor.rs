//! Exclusive or: the smallest data set that no single layer learns.

use lfnn_core::config::{NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
use lfnn_core::data::Dataset;
use lfnn_core::method::LFNN_L;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use ndarray::array;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let inputs = array![[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
    let labels = array![0, 1, 1, 0];
    let data = Dataset::classification(inputs.view(), labels.view())?;

    let network = NetworkConfig::new([UnitConfig::new().flatten().linear(16).relu().readout(4)]);
    let training = TrainingConfig::new(4, 200, OptimizerConfig::adam(0.02));
    let setup = Setup::new(&network, &training, LFNN_L);
    let mut trainer = Trainer::new(&Cpu::new(None)?, &setup, &data)?;
    trainer.fit(|_| ())?;

    let mut predictor = trainer.model()?.on(&Cpu::new(None)?, 4)?;
    let classes = predictor.predict_classes(inputs.view())?;
    println!("{inputs}\nare of the classes {classes}");
    assert_eq!(classes, labels);
    Ok(())
}
