//! The same properties on the CUDA backend: its kernels, compiled for the CPU, on the emulator.
//!
//! Emulation is slow: a property draws one case in four, and one in sixteen where the sanitizer watches.

use std::process::Command;

use lfnn_cuda::Precision;
use lfnn_cuda::emulator::sanitizer;
use lfnn_tests::under_test::{SANITIZED, on_emulator_in};

/// Set, it has the sanitizer watch products on tensor cores and half precision too: `scripts/check-kernels --sanitize`.
const SANITIZE_ALL: &str = "LFNN_SANITIZE_ALL";

/// One case in this many.
const SHARE: u32 = 4;

/// All of the properties in single precision again in a process of their own, in which every tensor has memory of its own and an access
/// beyond it, or one that is not aligned, ends the process with a report.
#[test]
fn no_kernel_leaves_its_tensors() {
    if std::env::var_os(SANITIZED).is_some() {
        return;
    }
    let Some(sanitizer) = sanitizer() else {
        eprintln!("skipped: there is no AddressSanitizer");
        return;
    };
    // Products and half precision take minutes more: only where they are asked for.
    let mut skipped = vec!["larger"];
    if std::env::var_os(SANITIZE_ALL).is_none() {
        skipped.extend(["products", "narrow"]);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("emulated::")
        .args(skipped.into_iter().flat_map(|name| ["--skip", name]))
        .env(SANITIZED, "1")
        .env("LD_PRELOAD", sanitizer)
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("test pool::emulated::average_pool_agrees ... ok"), "{said}");
}

/// Products on tensor cores and in half precision. Factors are representable in every format, so that only sums and
/// results round.
mod products {
    use lfnn_cuda::Precision;
    use lfnn_cuda::plan::force_tile;
    use lfnn_tests::under_test::on_emulator_in;

    use crate::window::square;
    use crate::{conv, linear};

    fn run(precision: Precision) {
        on_emulator_in(precision, super::share(), || {
            linear::linear_agrees();
            linear::linear_input_grad_agrees();
            linear::linear_weight_grad_agrees();
            conv::convolution_agrees();
            conv::convolution_with_normalisation_agrees();
            conv::convolution_input_grad_agrees();
            conv::convolution_weight_grad_agrees();
        });
    }

    #[test]
    fn agree_in_tf32() {
        run(Precision::Tf32);
    }

    #[test]
    fn agree_in_bf16() {
        run(Precision::Bf16);
    }

    #[test]
    fn agree_in_f16() {
        run(Precision::F16);
    }

    /// The estimate gives small products small tiles; here each tile in turn takes them all.
    #[test]
    fn agree_with_every_tile() {
        let shape = |sliding, groups, input, out| conv::Shape {
            batch: 2,
            sliding,
            groups,
            input,
            out,
            bias: true,
            seed: 17,
        };
        // Loads of 16 bytes in both factors, after colours are padded, in one, in neither; strides and groups; more
        // than one tile.
        let shapes = [
            shape(square(9, 3, 1, 1), 1, 8, 72),
            shape(square(9, 3, 2, 1), 2, 16, 24),
            shape(square(12, 3, 1, 1), 1, 3, 40),
            shape(square(12, 3, 1, 1), 1, 1, 40),
            shape(square(8, 2, 3, 1), 1, 19, 21),
        ];
        for precision in Precision::ALL {
            on_emulator_in(precision, 1, || {
                for (tile, shape) in (0..4).flat_map(|tile| shapes.iter().map(move |s| (tile, s))) {
                    force_tile(Some(tile));
                    let agrees = conv::forward(shape.clone())
                        .and_then(|()| conv::normalized(shape.clone()))
                        .and_then(|()| conv::input_grad(shape.clone()))
                        .and_then(|()| conv::weight_grad(shape.clone()));
                    force_tile(None);
                    agrees.unwrap_or_else(|e| panic!("{precision:?}, tile {tile}, {shape:?}: {e}"));
                }
            });
        }
    }
}

/// Runs a property with every operation in half precision.
pub(crate) fn narrow(property: fn()) {
    for precision in [Precision::Bf16, Precision::F16] {
        on_emulator_in(precision, 4 * share(), property);
    }
}

pub(crate) fn share() -> u32 {
    if std::env::var_os(SANITIZED).is_some() { 4 * SHARE } else { SHARE }
}
