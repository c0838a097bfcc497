//! A regression: predicts two numbers from three, and says how much of their variance it explains.

use lfnn_core::config::{
    NetworkConfig, OptimizerConfig, ScheduleConfig, Task, TrainingConfig, UnitConfig,
};
use lfnn_core::data::Dataset;
use lfnn_core::method::LFNN_L;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use ndarray::{Array2, Axis};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let features = Array2::from_shape_fn((1000, 3), |(row, column)| {
        (row as f32 * [0.618, 0.414, 0.732][column]).fract()
    });
    let values = Array2::from_shape_fn((1000, 2), |(row, value)| {
        let x = features.row(row);
        // Numbers of any size: they are standardised for training, and predictions come back in their own units.
        if value == 0 { 500.0 * (3.0 * x[0]).sin() + 100.0 * x[1] } else { x[1] * x[2] }
    });
    let data = Dataset::regression(features.view(), values.view())?;
    let (train, test) = data.named(["temperature", "share"])?.split(0.2, 1)?;

    let network = NetworkConfig::new([
        UnitConfig::new().flatten().linear(64).relu().readout(4),
        UnitConfig::new().linear(64).relu().readout(4),
    ]);
    let network = network.task(Task::Regression);
    let training = TrainingConfig::new(32, 60, OptimizerConfig::adam(0.01));
    let training = TrainingConfig { schedule: ScheduleConfig::cosine(), ..training };
    let cpu = Cpu::new(None)?;
    let mut trainer = Trainer::new(&cpu, &Setup::new(&network, &training, LFNN_L), &train)?;
    trainer.fit(|epoch| println!("{epoch}"))?;

    // Values are standardised, so that the loss is 1 − R², the mean over the columns, but for the split.
    let explained = 1.0 - trainer.evaluate(&test)?.loss();
    let predicted = trainer.model()?.on(&cpu, 64)?.predict(test.inputs())?;
    println!("R² of the rows held out: {explained:.3}");
    println!("mean prediction: {:.2?}", predicted.mean_axis(Axis(0)).ok_or("no rows")?.to_vec());
    assert!(explained > 0.95, "R² of {explained}");
    Ok(())
}
