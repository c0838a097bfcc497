//! A loop of one's own: step by step, with the losses and leaders of each step, an early stop, and a training that goes
//! on from where it was kept.

use lfnn_core::config::{NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
use lfnn_core::data::Dataset;
use lfnn_core::method::LFNN_L;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use ndarray::{Array1, Array2};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Points inside and outside a circle.
    let points = Array2::from_shape_fn((400, 2), |(row, axis)| {
        let turn = row as f32 * 2.4;
        let radius = row as f32 / 400.0;
        radius * if axis == 0 { turn.cos() } else { turn.sin() }
    });
    let labels = Array1::from_shape_fn(400, |row| u32::from(row >= 200));
    let data = Dataset::classification(points.view(), labels.view())?.named(["in", "out"])?;
    let (train, validation) = data.split(0.25, 5)?;

    let network = NetworkConfig::new([UnitConfig::new().flatten().linear(32).relu().readout(4)]);
    let training = TrainingConfig::new(30, 100, OptimizerConfig::adam(0.01));
    let setup = Setup::new(&network, &training, LFNN_L);
    let cpu = Cpu::new(None)?;
    let mut trainer = Trainer::new(&cpu, &setup, &train)?;
    while !trainer.is_finished() {
        let rate = trainer.learning_rate();
        let step = trainer.train_step_with_metrics()?;
        if trainer.epoch() == 0 {
            let unit = &step.units[0];
            println!(
                "step {}: rate {rate}, loss {:.3}, losses of the workers {:.2?}, leaders {:?}",
                trainer.step_in_epoch(),
                step.loss(),
                unit.workers("worker_losses"),
                unit.workers("lead_percent").iter().map(|led| *led > 0.0).collect::<Vec<_>>()
            );
        }
        if !trainer.epoch_is_done() {
            continue;
        }
        trainer.end_epoch()?;
        if trainer.evaluate(&validation)?.error().is_some_and(|error| error <= 3.0) {
            break;
        }
    }
    println!("stopped after epoch {}", trainer.epoch());

    // A model holds everything that its training needs. The steps that follow are those that would have followed.
    let kept = trainer.model()?;
    let mut other = Trainer::new(&cpu, &setup, &train)?;
    other.restore(&kept.state)?;
    other.train_step()?;
    trainer.train_step()?;
    assert_eq!(other.state()?, trainer.state()?);
    Ok(())
}
