//! A network with rectangular kernels, pools and grids learns which of three waveforms a noisy signal has.

use std::error::Error;
use std::f64::consts::TAU;

use lfnn_core::config::{NetworkConfig, TrainingConfig};
use lfnn_core::method::by_name;
use lfnn_core::random::{Purpose, Stream, normal_pair, unit};
use lfnn_core::train::{Images, Labels, Normalization, Pixels, Setup, Trainer};
use lfnn_cpu::Cpu;

const LEN: usize = 100;
const SIGNALS: usize = 600;
const TRAINED: u32 = 400;

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
    let samples: Vec<f32> = (0..SIGNALS).flat_map(signal).collect();
    let labels: Vec<u32> = (0..SIGNALS as u32).map(|i| i % 3).collect();
    let data = Images {
        pixels: Pixels::Reals(&samples),
        labels: Labels::Classes(&labels),
        shape: [1, LEN, 1],
        classes: 3,
    };
    let network: NetworkConfig = serde_json::from_str(
        r#"{
            "units": [
                {"layers": [{"conv": {"filters": 12, "kernel": [1, 9], "padding": [0, 4]}}, {"batch_norm": {}}, "relu"],
                 "workers": {"readout": {"count": 4, "grid": [1, 5]}},
                 "transition": [{"max_pool": {"kernel": [1, 2]}}]},
                {"layers": [{"conv": {"filters": 16, "kernel": [1, 5], "stride": [1, 2]}}, {"batch_norm": {}}, "relu"],
                 "workers": {"block": {"count": 2, "grid": [1, 3]}},
                 "transition": [{"avg_pool": {"kernel": [1, 3], "stride": [1, 2]}}]}
            ],
            "output": {"layers": [{"adaptive_avg_pool": {"grid": [1, 2]}}]}
        }"#,
    )?;
    let training: TrainingConfig = serde_json::from_str(
        r#"{"batch_size": 20, "epochs": 12, "optimizer": {"adamw": {"lr": 0.01}}, "schedule": {"cosine": {}}}"#,
    )?;
    let method = by_name("lfnn-l").ok_or("no such method")?;
    let normalization = Normalization { mean: vec![0.0], std: vec![0.7] };
    let setup = Setup { seed: 3, ..Setup::new(&network, &training, method, normalization) };
    let trained: Vec<u32> = (0..TRAINED).collect();
    let mut trainer = Trainer::new(&Cpu::new(Some(2))?, &setup, data, &trained)?;
    // Kernels have one row: 12 · 9, and twice 16 · 5 · 12; with their biases and normalisations; then 2 · 32 features.
    let convolutions = (12 * 9 + 3 * 12) + 2 * (16 * 5 * 12 + 3 * 16);
    assert_eq!(trainer.network().parameter_counts().0, convolutions + 2 * 32 * 3 + 3);
    while !trainer.is_finished() {
        trainer.train_step()?;
        if trainer.epoch_is_done() {
            trainer.end_epoch()?;
        }
    }
    let tested: Vec<u32> = (TRAINED..SIGNALS as u32).collect();
    let error = trainer.evaluate(&tested)?.error().ok_or("no error")?;
    assert!(error < 5.0, "an error of {error} %");
    Ok(())
}
