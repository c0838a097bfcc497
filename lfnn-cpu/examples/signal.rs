//! Signals: one-dimensional convolutions tell a sine from a square wave and a sawtooth.

use std::f32::consts::TAU;

use lfnn_core::config::{NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
use lfnn_core::data::Dataset;
use lfnn_core::method::LFNN_L;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use ndarray::{Array1, Array3};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 600 signals of 100 samples and one channel: 3 to 7 periods, from any phase, with noise.
    let samples = Array3::from_shape_fn((600, 100, 1), |(signal, at, _)| {
        let random = |factor: f32| (signal as f32 * factor).fract();
        let phase = (random(0.618) + (3.0 + 4.0 * random(0.414)) * at as f32 / 100.0).fract();
        let wave = match signal % 3 {
            0 => (TAU * phase).sin(),
            1 => {
                if phase < 0.5 {
                    0.7
                } else {
                    -0.7
                }
            }
            _ => 1.2 * (2.0 * phase - 1.0),
        };
        wave + 0.4 * (((signal * 7919 + at * 104_729) % 1009) as f32 / 1009.0 - 0.5)
    });
    let labels = Array1::from_shape_fn(600, |signal| (signal % 3) as u32);
    let data = Dataset::classification(samples.view(), labels.view())?;
    let (train, test) = data.named(["sine", "square", "sawtooth"])?.split(0.3, 1)?;

    // A signal is an image of one row: kernels and windows are one high.
    let network = NetworkConfig::new([
        UnitConfig::new().conv(16, [1, 9]).batch_norm().relu().readout(4).max_pool([1, 2]),
        UnitConfig::new().conv(32, [1, 9]).batch_norm().relu().readout(4).max_pool([1, 5]),
    ]);
    let training = TrainingConfig::new(20, 8, OptimizerConfig::adamw(0.01));
    let mut trainer =
        Trainer::new(&Cpu::new(None)?, &Setup::new(&network, &training, LFNN_L), &train)?;
    trainer.fit(|epoch| println!("{epoch}"))?;
    let error = trainer.evaluate(&test)?.error().unwrap_or(100.0);
    println!("{} signals held out, error {error:.1} %", test.len());
    assert!(error < 8.0, "an error of {error} %");
    Ok(())
}
