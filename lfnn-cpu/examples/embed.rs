//! Trains a small leader–follower network inside another program: no files, no command line.

use lfnn_core::config::{NetworkConfig, TrainingConfig};
use lfnn_core::method::by_name;
use lfnn_core::train::{Images, Labels, Normalization, Setup, Trainer};
use lfnn_cpu::Cpu;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 300 images of 4×4 bytes: class 1 where the left half is the brighter one.
    let labels: Vec<u32> = (0..300).map(|i| i % 2).collect();
    let pixel = |i: u32, x: u32| ((x < 2) == (i % 2 == 1)) as u32 * 100 + (i * 37 + x * 11) % 120;
    let pixels: Vec<u8> =
        (0..300).flat_map(|i| (0..16).map(move |p| pixel(i, p % 4) as u8)).collect();
    let images = Images {
        pixels: (&pixels).into(),
        labels: Labels::Classes(&labels),
        shape: [4, 4, 1],
        classes: 2,
    };

    let network: NetworkConfig = serde_json::from_str(
        r#"{"units": [{"layers": ["flatten"], "workers": {"neurons": {"count": 8}}}]}"#,
    )?;
    let training: TrainingConfig = serde_json::from_str(
        r#"{"batch_size": 20, "epochs": 20, "optimizer": {"adam": {"lr": 0.01}}}"#,
    )?;
    let setup = Setup::new(&network, &training, by_name("lfnn-l").ok_or("no such method")?)
        .normalized_by(Normalization { mean: vec![0.4], std: vec![0.2] });
    let (train, test): (Vec<u32>, Vec<u32>) = (0..300).partition(|i| i % 10 < 8);
    let mut trainer = Trainer::from_images(&Cpu::new(None)?, &setup, images, &train)?;
    while !trainer.is_finished() {
        trainer.train_step()?;
        if trainer.epoch_is_done() {
            trainer.end_epoch()?;
        }
    }
    println!("test error: {:.1} %", trainer.evaluate(&test)?.error().unwrap_or(100.0));
    Ok(())
}
