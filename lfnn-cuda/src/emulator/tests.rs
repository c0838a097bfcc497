//! The emulator finds what it is there to find.

use std::process::Command;

use super::compile::{is_available, source_text};
use super::library::{Kind, Value};
use super::sanitizer;

/// Sums the block's threads, with or without the barrier that the tree needs.
const SUM: &str = "
extern \"C\" __global__ void sum(float* out, unsigned n) {
    __shared__ float parts[128];
    parts[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    for (unsigned half = n / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
        BARRIER
    }
    if (threadIdx.x == 0) *out = parts[0];
}
extern \"C\" __global__ void warp_sum(float* out, unsigned n) {
    float value = (float)threadIdx.x;
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(~0u, value, offset);
    if (threadIdx.x % 32 == 0) out[threadIdx.x / 32] = value;
}
extern \"C\" __global__ void divergent(float* out, unsigned n) {
    if (threadIdx.x < 100) __syncthreads();
    if (threadIdx.x >= 100) return;
}
extern \"C\" __global__ void different(float* out, unsigned n) {
    if (threadIdx.x < 64) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}
extern \"C\" __global__ void half_a_warp(float* out, unsigned n) {
    if (threadIdx.x % 32 < 16) *out = __shfl_xor_sync(~0u, 1.0f, 1);
}
extern \"C\" __global__ void beyond(float* out, unsigned n) {
    out[threadIdx.x] = 1.0f;
}
";

fn run(kernel: &str, barrier: &str, seed: u64, out: &mut [f32]) -> Result<(), String> {
    let source = SUM.replace("BARRIER", barrier);
    let library = source_text("test", &source, false).map_err(|error| error.to_string())?;
    launch(&library, kernel, seed, out)
}

fn launch(
    library: &super::library::Library,
    kernel: &str,
    seed: u64,
    out: &mut [f32],
) -> Result<(), String> {
    let mut values: Vec<Value> = vec![
        (Kind::Pointer, (out.as_mut_ptr() as u64).to_ne_bytes().to_vec()),
        (Kind::Whole, 128u32.to_ne_bytes().to_vec()),
    ];
    // SAFETY: `out` has the elements that the kernel writes, but for `beyond`, which only the child
    // process of the sanitizer's test runs.
    unsafe { library.launch(kernel, [1; 3], [128, 1, 1], 0, seed, &mut values) }
        .map_err(|error| error.to_string())
}

/// Whether there is a compiler; says so if not.
fn has_compiler() -> bool {
    let available = is_available();
    if !available {
        eprintln!("skipped: there is no g++");
    }
    available
}

#[test]
fn a_missing_barrier_shows() {
    if !has_compiler() {
        return;
    }
    let mut wrong = 0;
    for seed in 0..20 {
        let mut out = [0.0];
        run("sum", "__syncthreads();", seed, &mut out).unwrap();
        assert_eq!(out, [8128.0]);
        run("sum", "", seed, &mut out).unwrap();
        wrong += u32::from(out != [8128.0]);
    }
    assert!(wrong >= 19, "{wrong} of 20 orders show it");
}

#[test]
fn lanes_exchange_values() {
    if !has_compiler() {
        return;
    }
    let mut out = [0.0; 4];
    run("warp_sum", "", 3, &mut out).unwrap();
    assert_eq!(out, [496.0, 1520.0, 2544.0, 3568.0]);
}

#[test]
fn a_barrier_that_not_all_threads_reach_is_an_error() {
    if !has_compiler() {
        return;
    }
    let error = run("divergent", "", 1, &mut [0.0]).unwrap_err();
    assert!(error.contains("28 of 128 threads ended without reaching it"), "{error}");
    let error = run("different", "", 1, &mut [0.0]).unwrap_err();
    assert!(error.contains("wait at different barriers"), "{error}");
    let error = run("half_a_warp", "", 1, &mut [0.0]).unwrap_err();
    assert!(error.contains("0000ffff of mask ffffffff"), "{error}");
}

#[test]
fn arguments_are_checked_against_the_kernel() {
    if !has_compiler() {
        return;
    }
    let library = source_text("test", &SUM.replace("BARRIER", ""), false).unwrap();
    let mut values: Vec<Value> = vec![(Kind::Real, vec![0; 4])];
    // SAFETY: the launch is refused.
    let result = unsafe { library.launch("sum", [1; 3], [1; 3], 0, 0, &mut values) };
    let error = result.unwrap_err().to_string();
    assert!(error.contains("takes [(Pointer, 8), (Whole, 4)]"), "{error}");
}

/// In a process of its own, which the sanitizer ends: the name of the test that it runs again.
const CHILD: &str = "LFNN_EMULATOR_TEST_CHILD";

#[test]
fn an_access_out_of_bounds_is_found() {
    if !has_compiler() {
        return;
    }
    if std::env::var_os(CHILD).is_some() {
        let library = source_text("test", &SUM.replace("BARRIER", ""), true).unwrap();
        // 128 threads write here.
        let mut out = vec![0.0; 100];
        launch(&library, "beyond", 1, &mut out).unwrap();
        panic!("nothing was found");
    }
    let Some(sanitizer) = sanitizer() else {
        eprintln!("skipped: there is no AddressSanitizer");
        return;
    };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "emulator::tests::an_access_out_of_bounds_is_found", "--nocapture"])
        .env(CHILD, "1")
        .env("LD_PRELOAD", sanitizer)
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("heap-buffer-overflow") && said.contains("beyond"), "{said}");
}
