//! A run allocates nothing where the processor has AVX2 or AVX-512.
//!
//! But for one thing: the calling thread hands the run to the pool, and the queue of such jobs in
//! rayon is a list of blocks for 63 of them (crossbeam's `Injector`), so every 63rd run takes a block
//! of some 1.5 KB, and the last one is given back.

use lfnn_core::backend::Backend;
use lfnn_cpu::{CountingAllocator, Cpu};
use network::Step;

mod network;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn a_run_allocates_nothing_but_a_block_of_the_pools_queue_in_63_runs() {
    for threads in [1, 2] {
        let mut step = Step::new(32, 20, 1);
        step.unit(24, true);
        step.unit(40, false);
        step.match_similarity();
        step.flatten();
        step.dense(52);
        step.perturb();
        let (module, program, uploads) = step.finish().unwrap();
        let cpu = Cpu::new(Some(threads)).unwrap();
        let mut executable = cpu.compile(&module).unwrap();
        for (id, data) in &uploads {
            executable.upload(*id, data.as_tensor()).unwrap();
        }
        for _ in 0..10 {
            executable.run(program).unwrap();
        }
        let before = CountingAllocator::count();
        for _ in 0..126 {
            executable.run(program).unwrap();
        }
        let allocations = CountingAllocator::count() - before;
        // `matrixmultiply` allocates a packing buffer for each product.
        assert!(
            allocations <= 2 || cpu.level() == "portable",
            "{allocations} allocations with {threads} threads"
        );
    }
}
