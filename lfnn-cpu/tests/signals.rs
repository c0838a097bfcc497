//! A network with rectangular kernels, pools and grids learns which of three waveforms a noisy signal has.

use std::error::Error;
use std::f64::consts::TAU;

use lfnn_core::config::{
    AdaptiveAvgPoolConfig, BlockConfig, ConvConfig, LayerConfig, NetworkConfig, OptimizerConfig,
    ReadoutConfig, ScheduleConfig, TrainingConfig, UnitConfig, WorkersConfig,
};
use lfnn_core::data::Dataset;
use lfnn_core::method::LFNN_L;
use lfnn_core::random::{Purpose, Stream, normal_pair, unit};
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use ndarray::{Array1, Array3};

const LEN: usize = 100;
const SIGNALS: usize = 600;

/// A sine, a square wave or a sawtooth at a phase from 0 to 1.
fn wave(class: usize, phase: f64) -> f64 {
    match class {
        0 => (TAU * phase).sin(),
        1 if phase < 0.5 => 0.7,
        1 => -0.7,
        _ => 1.2 * (2.0 * phase - 1.0),
    }
}

/// A signal of 3 to 7 periods, from any phase, of any height, under noise.
fn signal(index: usize) -> Vec<f32> {
    let stream = Stream::new(Purpose::Init, index as u32);
    let words = stream.block(1, 0, 0, 0);
    let (periods, start) = (3.0 + 4.0 * unit(words[0]), unit(words[1]));
    let height = 0.7 + 0.6 * unit(words[2]);
    let sample = |i: usize| {
        let noise = stream.block(1, 0, 0, 1 + i as u32);
        let phase = (start + periods * i as f64 / LEN as f64).fract();
        (height * wave(index % 3, phase) + 0.15 * normal_pair(noise[0], noise[1])[0]) as f32
    };
    (0..LEN).map(sample).collect()
}

#[test]
fn waveforms_are_told_apart_with_kernels_of_one_row() -> Result<(), Box<dyn Error>> {
    let samples =
        Array3::from_shape_vec((SIGNALS, LEN, 1), (0..SIGNALS).flat_map(signal).collect())?;
    let labels = Array1::from_shape_fn(SIGNALS, |index| (index % 3) as u32);
    let (train, test) = Dataset::classification(samples.view(), labels.view())?.split(0.3, 1)?;

    let readout = ReadoutConfig { count: 4, grid: Some([1, 5].into()), dropout: 0.0 };
    let block = BlockConfig { count: 2, grid: Some([1, 3].into()), dropout: 0.0 };
    let strided = ConvConfig {
        filters: 16,
        kernel: [1, 5].into(),
        stride: [1, 2].into(),
        padding: 0.into(),
        groups: 1,
        bias: true,
    };
    let network = NetworkConfig::new([
        UnitConfig::new()
            .conv(12, [1, 9])
            .batch_norm()
            .relu()
            .workers(WorkersConfig::Readout(readout))
            .max_pool([1, 2]),
        UnitConfig::new()
            .layer(strided)
            .batch_norm()
            .relu()
            .workers(WorkersConfig::Block(block))
            .transition(LayerConfig::avg_pool([1, 3])),
    ]);
    let network = network.output([AdaptiveAvgPoolConfig { grid: [1, 2].into() }.into()]);
    let training = TrainingConfig::new(20, 12, OptimizerConfig::adamw(0.01));
    let training = TrainingConfig { schedule: ScheduleConfig::cosine(), ..training };
    let setup = Setup { seed: 3, ..Setup::new(&network, &training, LFNN_L) };
    let mut trainer = Trainer::new(&Cpu::new(Some(2))?, &setup, &train)?;
    // Kernels have one row: 12 · 9, and twice 16 · 5 · 12; with their biases and normalisations; then 2 · 32 features.
    let convolutions = (12 * 9 + 3 * 12) + 2 * (16 * 5 * 12 + 3 * 16);
    assert_eq!(trainer.network().parameter_counts().0, convolutions + 2 * 32 * 3 + 3);
    trainer.fit(|_| ())?;
    let error = trainer.evaluate(&test)?.error().ok_or("no error")?;
    assert!(error < 5.0, "an error of {error} %");
    Ok(())
}
