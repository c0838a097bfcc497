//! Lanes: what depends on another step waits for it, steps that may run side by side share no memory, and
//! in `lfnn-l` memory stays flat in depth, with one stream and with two.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::program::{Node, Operation, Order, Tensors, plan_memory, plan_memory_in};
use lfnn_core::train::StepProgram;
use lfnn_cuda::plan::schedule::Schedule;
use lfnn_tests::property::property;
use lfnn_tests::schedules::{
    check_order, check_plan, conflict, plan_by_definition, random_nodes, training_step,
};
use lfnn_tests::source::Source;
use proptest::prelude::*;

/// For each node, those that are certainly done before it starts: the nodes before it in its stream, those
/// it waits for, and those that are done before these.
fn before(schedule: &Schedule) -> Vec<Vec<bool>> {
    let count = schedule.stream.len();
    let mut before = vec![vec![false; count]; count];
    for node in 0..count {
        let same_stream = (0..node).rfind(|&other| schedule.stream[other] == schedule.stream[node]);
        for direct in same_stream.into_iter().chain(schedule.after[node].iter().copied()) {
            let known = before[direct].clone();
            before[node].iter_mut().zip(known).for_each(|(is, was)| *is |= was);
            before[node][direct] = true;
        }
    }
    before
}

/// Checks everything that a schedule and its places promise.
fn check(nodes: &[Node], tensors: &Tensors, streams: usize) -> Result<(), String> {
    let schedule = Schedule::new(nodes, tensors, streams);
    let before = before(&schedule);
    for then in 0..nodes.len() {
        if schedule.stream[then] >= streams {
            return Err(format!("node {then} in stream {} of {streams}", schedule.stream[then]));
        }
        for &wait in &schedule.after[then] {
            if wait >= then || schedule.stream[wait] == schedule.stream[then] {
                return Err(format!("node {then} waits for {wait}"));
            }
        }
        for first in 0..then {
            if conflict(&nodes[first], &nodes[then]) && !before[then][first] {
                return Err(format!("{first} and {then} are not in order"));
            }
            if schedule.ordered(first, then) != before[then][first] {
                return Err(format!("`ordered` is wrong about {first} and {then}"));
            }
        }
    }

    let plan = plan_memory_in(tensors, nodes, &schedule, |id| tensors[id].bytes());
    check_order(&schedule, nodes.len())?;
    let same = plan_by_definition(nodes, tensors, |first, then| before[then][first]);
    if plan != same {
        return Err(format!("{plan:?}, by definition {same:?}"));
    }
    check_plan(nodes, tensors, &plan, |first, then| before[then][first])
}

#[test]
fn dependences_are_kept_and_memory_is_apart_in_any_program() {
    property(
        256,
        (1usize..25, 0usize..40, 1usize..5, any::<u64>()),
        |(count, nodes, streams, seed)| {
            let mut source = Source::new(seed);
            let (set, nodes) = random_nodes(&mut source, count, nodes);
            check(&nodes, set.tensors(), streams)
        },
    );
}

fn nodes(step: &StepProgram) -> Vec<Node> {
    let ops = step.set.programs()[step.program.0].ops();
    ops.iter().map(|op| Node::of([op as &dyn Operation])).collect()
}

#[test]
fn dependences_are_kept_in_training_steps() {
    for method in ["lfnn-l", "lfnn", "bp"] {
        let step = training_step(method, 3);
        for streams in 1..4 {
            check(&nodes(&step), step.set.tensors(), streams).unwrap();
        }
    }
}

#[test]
fn one_stream_is_the_plan_of_the_core() {
    let step = training_step("lfnn", 3);
    let tensors = step.set.tensors();
    let nodes = nodes(&step);
    let schedule = Schedule::new(&nodes, tensors, 1);
    assert!(schedule.after.iter().all(Vec::is_empty));
    let bytes = |id| tensors[id].bytes();
    let ops = step.set.programs()[step.program.0].ops();
    let plan = plan_memory_in(tensors, &nodes, &schedule, bytes);
    assert_eq!(plan, plan_memory(tensors, ops, bytes));
}

/// Bytes of the temporaries of a step.
fn temporaries(method: &str, depth: usize, streams: usize) -> usize {
    let step = training_step(method, depth);
    let tensors = step.set.tensors();
    let nodes = nodes(&step);
    let schedule = Schedule::new(&nodes, tensors, streams);
    plan_memory_in(tensors, &nodes, &schedule, |id| tensors[id].bytes()).bytes
}

#[test]
fn memory_is_flat_in_depth_without_backpropagation() {
    for streams in [1, 2] {
        let [few, some, many] = [4, 16, 64].map(|depth| temporaries("lfnn-l", depth, streams));
        println!("lfnn-l, {streams} streams: {few}, {some}, {many} bytes with 4, 16, 64 units");
        assert!(many <= few + few / 10, "{streams} streams: {few} bytes grow to {many}");
        assert!(some <= few + few / 10, "{streams} streams: {few} bytes grow to {some}");
        let [few, some, many] = [4, 16, 64].map(|depth| temporaries("bp", depth, streams));
        println!("bp, {streams} streams: {few}, {some}, {many} bytes");
        assert!(some > 2 * few && many > 3 * some, "{few}, {some}, {many}");
    }
}

#[test]
fn a_unit_is_updated_beside_the_next_units_forward_pass() {
    let step = training_step("lfnn-l", 3);
    let tensors = step.set.tensors();
    let ops = step.set.programs()[step.program.0].ops();
    let nodes = nodes(&step);
    let position = |touched: &str, name: &str| {
        let wanted = |op: &&lfnn_core::program::Op| {
            let ids = op.reads().into_iter().chain(op.updates()).chain(op.writes());
            op.name() == name && ids.into_iter().any(|id| tensors[id].name.starts_with(touched))
        };
        let found = ops.iter().position(|op| wanted(&op));
        found.unwrap_or_else(|| panic!("no {name} of {touched}"))
    };
    let update = position("unit1.", "AdamStep");
    let forward = position("unit2.", "Conv2d");
    let two = before(&Schedule::new(&nodes, tensors, 2));
    assert!(!two[forward][update] && !two[update][forward], "they wait for one another");
    let one = before(&Schedule::new(&nodes, tensors, 1));
    assert!(one[forward][update]);
}
