//! Training steps allocate nothing, whatever the method, where the processor has AVX2 or AVX-512. Alone in its program: allocations are counted over all
//! threads, the test harness's too.

use lfnn_core::config::{NetworkConfig, TrainingConfig};
use lfnn_core::method::METHODS;
use lfnn_core::train::{Images, Labels, Normalization, Setup, Trainer};
use lfnn_cpu::{CountingAllocator, Cpu};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn a_training_step_allocates_nothing_but_a_block_of_the_pools_queue_in_63_runs() {
    let (count, steps, batch) = (32, 63, 8);
    let labels: Vec<u32> = (0..count).map(|i| i % 4).collect();
    let pixels: Vec<u8> = (0..count * 64).map(|p| (p * 37 % 251) as u8).collect();
    let images = Images {
        pixels: (&pixels).into(),
        labels: Labels::Classes(&labels),
        shape: [8, 8, 1],
        classes: 4,
    };
    let network: NetworkConfig = serde_json::from_str(
        r#"{"units": [
            {"layers": [{"conv": {"filters": 8, "kernel": 3, "padding": 1}}, {"batch_norm": {}}, "relu"],
             "workers": {"readout": {"count": 2, "grid": 2}}, "transition": [{"max_pool": {"kernel": 2}}],
             "similarity": {"weight": 1, "layers": [{"conv": {"filters": 4, "kernel": 3}}]}},
            {"layers": ["flatten"], "workers": {"neurons": {"count": 3}}, "similarity": {"weight": 1}}]}"#,
    )
    .unwrap();
    let training: TrainingConfig = serde_json::from_str(
        r#"{"batch_size": 8, "epochs": 10, "optimizer": {"adam": {"lr": 0.001}}}"#,
    )
    .unwrap();
    for method in METHODS {
        let normalization = Normalization { mean: vec![0.5], std: vec![0.3] };
        let setup = Setup::new(&network, &training, method).normalized_by(normalization);
        let order: Vec<u32> = (0..steps * batch).map(|i| i % count).collect();
        let cpu = Cpu::new(Some(2)).unwrap();
        let mut trainer = Trainer::from_images(&cpu, &setup, images, &order).unwrap();
        let mut epoch = || {
            let before = CountingAllocator::count();
            while !trainer.epoch_is_done() {
                trainer.train_step().unwrap();
            }
            let allocations = CountingAllocator::count() - before;
            trainer.end_epoch().unwrap();
            allocations
        };
        epoch();
        let allocations = epoch();
        // `matrixmultiply` allocates a packing buffer for each product.
        assert!(
            allocations <= 2 || cpu.level() == "portable",
            "{}: {allocations} allocations in an epoch",
            method.name
        );
    }
}
