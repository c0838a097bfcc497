//! Programs of operations thrown together, on the CPU backend, on the emulated CUDA backend and on the reference.
//!
//! A handful of tensors of one shape are read and overwritten by operations in no sensible order, some
//! of them temporary, some read twice or by nobody. Networks never look like this, and a backend that
//! fuses operations or uses memory again must be right all the same.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod pooling;
mod random_graphs;

use lfnn_tests::harness::Case;
use lfnn_tests::parity;
use lfnn_tests::property::property;
use lfnn_tests::under_test::on_emulator;
use proptest::prelude::*;
use random_graphs::Soup;

fn shapes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        (2usize..6, 1usize..20).prop_map(|(a, b)| vec![a, b]),
        (1usize..4, 2usize..5, 1usize..5, 1usize..20).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
    ]
}

#[test]
fn operations_in_any_order_agree_with_the_reference() {
    property(12_288, (shapes(), 1usize..20, any::<u64>()), |(shape, ops, seed)| {
        holds(&shape, ops, seed)
    });
}

fn holds(shape: &[usize], ops: usize, seed: u64) -> Result<(), String> {
    let mut case = Case::new(seed);
    let mut random_graphs = Soup::new(&mut case, shape);
    for _ in 0..ops {
        random_graphs.stir(&mut case);
    }
    parity::agrees(&case)?;
    parity::is_deterministic(&case)
}

/// One case in four on the emulator.
#[test]
fn operations_in_any_order_agree_on_the_emulator() {
    on_emulator(4, operations_in_any_order_agree_with_the_reference);
}

/// Found on a GPU, where all cases are drawn: a ReLU whose output is also the gradient that comes back to it. A
/// normalisation's backward rule that finds the sign anew must not take that tensor for one that nobody reads.
#[test]
fn an_output_that_is_its_own_gradient_agrees() {
    on_emulator(1, || holds(&[5, 5], 9, 16_469_929_540_508_216_822).unwrap());
}
