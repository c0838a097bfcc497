//! A device chosen when the program runs: `cargo run --example choose_device -- auto|cpu|cuda|cuda:1`.

use lfnn_core::backend::{Backend, Precision};
use lfnn_core::config::{NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
use lfnn_core::data::Dataset;
use lfnn_core::device::Device;
use lfnn_core::method::LFNN_L;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::CpuPlatform;
use lfnn_cuda::CudaPlatform;
use ndarray::{Array1, Array2};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "auto".into());
    // The first that is there, in this order, where `auto` is asked for.
    let device = Device::open(&name, Precision::F32, &[&CudaPlatform, &CpuPlatform])?;
    device.passed_over().iter().for_each(|reason| println!("not on {reason}"));
    println!("on {}", device.name());

    let features =
        Array2::from_shape_fn((200, 4), |(row, column)| (row * (column + 3) % 17) as f32);
    let labels = Array1::from_shape_fn(200, |row| u32::from(features[[row, 0]] > 8.0));
    let data = Dataset::classification(features.view(), labels.view())?;
    let network = NetworkConfig::new([UnitConfig::new().flatten().linear(16).relu().readout(4)]);
    let training = TrainingConfig::new(20, 20, OptimizerConfig::adam(0.01));
    let mut trainer = Trainer::new(&device, &Setup::new(&network, &training, LFNN_L), &data)?;
    trainer.fit(|epoch| println!("{epoch}"))?;
    assert!(trainer.evaluate(&data)?.error().is_some_and(|error| error < 5.0));
    Ok(())
}
