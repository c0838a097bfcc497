//! Whole training steps, and ten steps in a row, against PyTorch's automatic differentiation.
//!
//! The vectors in `tests/vectors` were made in double precision by `tests/oracle/make_vectors.py`,
//! which shares nothing with the Rust code. The reference backend must agree with them to the
//! rounding of the files, the CPU backend and the emulated CUDA backend to the rounding of their own arithmetic.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod case;
mod curve;

use case::{Case, names};
use lfnn_core::backend::Backend;
use lfnn_core::method;
use lfnn_core::train::{State, StateData, StepTrace, Target, TraceInput, trace_step};
use lfnn_cpu::Cpu;
use lfnn_tests::reference::Reference;
use lfnn_tests::under_test::{emulator, gpu, on_emulator};

/// Largest difference, relative to the largest element of the tensor (at least 0.05, because sums
/// that cancel leave the rounding of their summands): files are single precision.
const REFERENCE: f64 = 1e-5;
/// As above, where all of the arithmetic is single precision.
const CPU: f64 = 5e-5;
/// Of the directions of forward gradients.
const SEED: u64 = 1;

#[test]
fn single_steps_of_the_reference_backend_agree_with_pytorch() {
    for name in names() {
        check_step(&Reference, &Case::load(&name), REFERENCE);
    }
}

#[test]
fn single_steps_of_the_cpu_backend_agree_with_pytorch() {
    let cpu = Cpu::new(Some(1)).unwrap();
    for name in names() {
        check_step(&cpu, &Case::load(&name), CPU);
    }
}

#[test]
fn single_steps_of_the_emulated_cuda_backend_agree_with_pytorch() {
    on_emulator(1, || {
        for (seed, name) in (1..).zip(names()) {
            check_step(&emulator(seed), &Case::load(&name), CPU);
        }
    });
}

#[test]
fn single_steps_on_a_gpu_agree_with_pytorch() {
    match gpu() {
        Ok(cuda) => names().iter().for_each(|name| check_step(&cuda, &Case::load(name), CPU)),
        Err(skipped) => eprintln!("{skipped}"),
    }
}

#[test]
fn the_vectors_cover_every_method_and_every_kind_of_workers() {
    let names = names();
    for method in method::names() {
        for kind in ["neurons", "filters", "readout", "heads", "block"] {
            let prefix = format!("{method}_{kind}");
            assert!(names.iter().any(|name| name.starts_with(&prefix)), "no case {prefix}");
        }
    }
}

/// Compares everything that a step computes.
fn check_step(backend: &dyn Backend, case: &Case, tolerance: f64) {
    let images = case.get("batch/images");
    let target = case.get("batch/target");
    let target = match target.whole.as_slice() {
        [] => Target::Values(&target.real),
        labels => Target::Labels(labels),
    };
    let input = TraceInput {
        network: &case.network,
        leadership: case.leadership,
        label_smoothing: case.training.label_smoothing,
        class_weights: case.training.class_weights.as_ref(),
        directions: case.training.directions,
        method: case.method,
        seed: SEED,
        classes: case.classes,
        images: &images.real,
        shape: &images.shape,
        target,
    };
    let seen = trace_step(backend, &input, &case.start()).unwrap();
    check_outputs(case, &seen, tolerance);
    check_states(case, "expected/gradients/", &seen.gradients, tolerance);
    check_states(case, "expected/running/", &seen.buffers, tolerance);
    check_states(case, "expected/directions/", &seen.directions, tolerance);
    check_states(case, "feedback/", &seen.feedback, 0.0);
}

fn check_outputs(case: &Case, seen: &StepTrace, tolerance: f64) {
    let check = |name: &str, actual: &[f32]| {
        let name = format!("expected/{name}");
        check_close(case, &name, actual, &case.get(&name).real, tolerance);
    };
    check("logits", &seen.logits);
    check("output.loss", &[seen.loss as f32]);
    if case.method.workers.have_leaders() {
        assert_eq!(seen.units.len(), case.network.units.len(), "{}", case.name);
    }
    for unit in &seen.units {
        let name = |what: &str| format!("unit{}.{what}", unit.unit);
        check(&name("errors"), &unit.worker_losses);
        check(&name("leaders"), &unit.leaders);
        let best = &case.get(&format!("expected/{}", name("best"))).whole;
        assert_eq!(&unit.best, best, "{}: {}", case.name, name("best"));
        check(&name("leader_loss"), &[unit.leader_loss as f32]);
        check(&name("follower_loss"), &[unit.follower_loss as f32]);
    }
}

/// Every expected tensor is there, close enough, and no other.
fn check_states(case: &Case, prefix: &str, seen: &State, tolerance: f64) {
    let expected = case.below(prefix);
    assert_eq!(seen.tensors.len(), expected.tensors.len(), "{}: {prefix}", case.name);
    for wanted in &expected.tensors {
        let name = format!("{prefix}{}", wanted.name);
        let missing = || panic!("{} gives no `{name}`", case.name);
        let tensor = seen.get(&wanted.name).unwrap_or_else(missing);
        assert_eq!(tensor.shape, wanted.shape, "{}: {name}", case.name);
        let (StateData::Real(actual), StateData::Real(wanted)) = (&tensor.data, &wanted.data)
        else {
            panic!("{}: `{name}` is not real", case.name);
        };
        check_close(case, &name, actual, wanted, tolerance);
    }
}

fn check_close(case: &Case, name: &str, actual: &[f32], expected: &[f32], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{}: length of {name}", case.name);
    let largest = expected.iter().fold(0.05f32, |largest, value| largest.max(value.abs()));
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let difference = f64::from((a - e).abs());
        assert!(
            difference <= tolerance * f64::from(largest),
            "{}: {name}[{i}] is {a}, expected {e} (largest {largest})",
            case.name
        );
    }
}
