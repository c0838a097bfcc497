//! A run allocates nothing.
//!
//! But for one thing: the calling thread hands the run to the pool, and the queue of such jobs in
//! rayon is a list of blocks for 63 of them (crossbeam's `Injector`), so every 63rd run takes a block
//! of some 1.5 KB, and the last one is given back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use lfnn_core::backend::{Backend, Executable};
use lfnn_cpu::Cpu;
use network::Step;

mod network;

struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_run_allocates_nothing_but_a_block_of_the_pools_queue_in_63_runs() {
    for threads in [1, 2] {
        let mut step = Step::new(32, 20, 1);
        step.unit(24, true);
        step.unit(40, false);
        step.flatten();
        step.dense(52);
        step.perturb();
        let (module, program, uploads) = step.finish().unwrap();
        let mut executable = Cpu::new(Some(threads)).unwrap().compile(&module).unwrap();
        for (id, data) in &uploads {
            executable.upload(*id, data.as_tensor()).unwrap();
        }
        for _ in 0..10 {
            executable.run(program).unwrap();
        }
        let before = COUNT.load(Ordering::Relaxed);
        for _ in 0..126 {
            executable.run(program).unwrap();
        }
        let allocations = COUNT.load(Ordering::Relaxed) - before;
        assert!(allocations <= 2, "{allocations} allocations with {threads} threads");
    }
}
