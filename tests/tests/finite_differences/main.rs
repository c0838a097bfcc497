//! Backward and forward-mode rules against finite differences, on the reference in `f64`: each
//! operation alone, chains of them, and the local losses.
//!
//! That the CPU backend's rules are those of the reference is for the tests of operations to show.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod chains;
mod local;
mod maps;
mod pointwise;
mod pools;
mod similarity;

use lfnn_core::program::{Op, TensorId};
use lfnn_tests::chain::Signal;
use lfnn_tests::derivative::{Rules, Variable};
use lfnn_tests::harness::Case;

/// A signal of which every part is persistent, for the input or the result of one operation.
fn persistent(case: &mut Case, name: &str, shape: &[usize]) -> Signal {
    Signal {
        value: case.input(name, shape),
        gradient: case.input(&format!("{name} gradient"), shape),
        tangent: case.input(&format!("{name} tangent"), shape),
    }
}

fn variable(signal: Signal) -> Variable {
    Variable { value: signal.value, gradient: signal.gradient, tangent: Some(signal.tangent) }
}

/// The programs of a function of signals. Without tangent operations there is no such rule.
fn rules(
    case: &mut Case,
    variables: &[Signal],
    y: Signal,
    [forward, backward, tangent]: [Vec<Op>; 3],
) -> Rules {
    let has_tangent = !tangent.is_empty();
    let mut program = |ops: Vec<Op>| {
        ops.into_iter().for_each(|op| case.push(op));
        case.finish().unwrap()
    };
    let tangent_program = program(tangent);
    Rules {
        forward: program(forward),
        backward: program(backward),
        tangent: has_tangent.then_some((tangent_program, y.tangent)),
        variables: variables.iter().map(|&signal| variable(signal)).collect(),
        y: y.value,
        dy: y.gradient,
    }
}

/// Checks an operation of one input: `forward(x, y)`, `backward(y gradient, x gradient)` and
/// `tangent(x tangent, y tangent)`, each given the shared input and result too.
fn check_unary(
    mut case: Case,
    x: Signal,
    result: &[usize],
    ops: impl Fn(Signal, Signal) -> [Vec<Op>; 3],
) -> Result<(), String> {
    let y = persistent(&mut case, "y", result);
    let rules = rules(&mut case, &[x], y, ops(x, y));
    rules.check(&case, None)
}

/// The features of a tensor.
fn last(case: &Case, id: TensorId) -> usize {
    *case.shape(id).last().unwrap()
}
