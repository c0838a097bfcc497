//! Which backend a test is about: the CPU backend, with [`on_emulator`] the CUDA backend's kernels on the
//! emulator, or with [`on_gpu`] the CUDA backend itself. Where the environment has [`GPU`], what would
//! test the CPU tests the GPU: so the same test programs serve on a machine with one.
//!
//! Properties are written once. They run a case by [`run`], which asks what the thread is testing.

use std::cell::Cell;

use lfnn_cpu::Cpu;
use lfnn_cuda::emulator::{Emulator, is_available};
use lfnn_cuda::{Cuda, Precision};

use crate::harness::{Case, Results};

/// How the emulator is asked to look for accesses out of bounds: set in the process that a test starts with
/// the sanitizer loaded.
pub const SANITIZED: &str = "LFNN_EMULATOR_SANITIZED";

/// Set to 1, it has tests of the CPU backend test the GPU.
pub const GPU: &str = "LFNN_TEST_GPU";

/// A backend under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnderTest {
    Cpu,
    Emulator { precision: Precision, share: u32 },
    Gpu,
}

/// What is tested where nothing else is asked for.
fn usual() -> UnderTest {
    if std::env::var_os(GPU).is_some_and(|value| value == "1") {
        UnderTest::Gpu
    } else {
        UnderTest::Cpu
    }
}

thread_local! {
    static UNDER_TEST: Cell<UnderTest> = Cell::new(usual());
    /// Each thread that tests keeps its own.
    static CPUS: [Cpu; 2] = [1, 2].map(|threads| Cpu::new(Some(threads)).unwrap());
    static CUDA: Result<Cuda, String> = gpu();
}

/// Runs a test on the emulated CUDA backend instead of the CPU backend; properties draw one of `share` cases,
/// because emulation is slow. Without g++ the test is skipped, and says so.
pub fn on_emulator(share: u32, test: impl FnOnce()) {
    on_emulator_in(Precision::F32, share, test);
}

/// As [`on_emulator`], with another arithmetic.
pub fn on_emulator_in(precision: Precision, share: u32, test: impl FnOnce()) {
    if !has_emulator() {
        return;
    }
    UNDER_TEST.set(UnderTest::Emulator { precision, share });
    test();
    UNDER_TEST.set(usual());
}

/// Whether there is an emulator here; where not, says that the test is skipped.
pub fn has_emulator() -> bool {
    let available = is_available();
    if !available {
        eprintln!("skipped: there is no g++ to compile CUDA kernels for the CPU");
    }
    available
}

/// Runs a test on the GPU. Without one the test is skipped, and says so.
pub fn on_gpu(test: impl FnOnce()) {
    if let Some(reason) = CUDA.with(|cuda| cuda.as_ref().err().cloned()) {
        eprintln!("{reason}");
        return;
    }
    UNDER_TEST.set(UnderTest::Gpu);
    test();
    UNDER_TEST.set(usual());
}

/// The arithmetic of the backend under test.
pub fn precision() -> Precision {
    match UNDER_TEST.get() {
        UnderTest::Cpu | UnderTest::Gpu => Precision::F32,
        UnderTest::Emulator { precision, .. } => precision,
    }
}

/// How many of these cases the backend under test is given.
pub fn cases(cases: u32) -> u32 {
    match UNDER_TEST.get() {
        UnderTest::Cpu | UnderTest::Gpu => cases,
        UnderTest::Emulator { share, .. } => cases.div_ceil(share),
    }
}

/// An emulator; its threads run in an order drawn from the seed. In half precision every operation works in
/// it, though the tensors of a case are singles.
pub fn emulator(seed: u64) -> Emulator {
    let sanitized = std::env::var_os(SANITIZED).is_some();
    let precision = precision();
    let all_narrow = matches!(precision, Precision::Bf16 | Precision::F16);
    Emulator { precision, seed, sanitized, all_narrow }
}

/// Runs a case on the backend under test. It must not matter `how`: the number of threads of the CPU backend,
/// the order of threads of the emulator.
///
/// # Errors
/// A program that is not well formed, or what the backend says.
pub fn run(case: &Case, how: u64) -> Result<Results, String> {
    match UNDER_TEST.get() {
        UnderTest::Cpu => with_cpu(1 + (how % 2) as usize, |cpu| case.run(cpu)),
        UnderTest::Emulator { .. } => case.run(&emulator(how)),
        UnderTest::Gpu => CUDA.with(|cuda| case.run(cuda.as_ref().map_err(String::clone)?)),
    }
}

/// Calls `f` with a CPU backend of one or two threads.
///
/// # Panics
/// If `threads` is neither.
pub fn with_cpu<T>(threads: usize, f: impl FnOnce(&Cpu) -> T) -> T {
    CPUS.with(|cpus| f(&cpus[threads - 1]))
}

/// The GPU, for tests that take a backend; none where there is none, which the test then says.
///
/// # Errors
/// As [`Cuda::new`], in words.
///
/// # Panics
/// Where [`GPU`] asks for one and there is none.
pub fn gpu() -> Result<Cuda, String> {
    let cuda = Cuda::new(0, Precision::F32);
    if let (Err(error), UnderTest::Gpu) = (&cuda, usual()) {
        panic!("{GPU} is set, and there is no GPU: {error}");
    }
    cuda.map_err(|error| format!("skipped: no GPU: {error}"))
}
