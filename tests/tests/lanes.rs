//! Lanes: what depends on another step waits for it, steps that may run side by side share no memory, and
//! in `lfnn-l` memory stays flat in depth, with one lane and with two.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::config::{LeadershipConfig, NetworkConfig, TrainingConfig};
use lfnn_core::method::by_name;
use lfnn_core::program::{
    DType, Kind, Module, Node, Operation, Order, TensorId, Tensors, plan_memory, plan_memory_in,
};
use lfnn_core::train::{Augmentation, Limits, Normalization, Setup, StepProgram};
use lfnn_cuda::plan::schedule::Schedule;
use lfnn_tests::property::property;
use lfnn_tests::source::Source;
use proptest::prelude::*;
use serde_json::json;

/// For each node, those that are certainly done before it starts: the nodes before it in its lane, those
/// it waits for, and those that are done before these.
fn before(schedule: &Schedule) -> Vec<Vec<bool>> {
    let count = schedule.lane.len();
    let mut before = vec![vec![false; count]; count];
    for node in 0..count {
        let same_lane = (0..node).rfind(|&other| schedule.lane[other] == schedule.lane[node]);
        for direct in same_lane.into_iter().chain(schedule.after[node].iter().copied()) {
            let known = before[direct].clone();
            before[node].iter_mut().zip(known).for_each(|(is, was)| *is |= was);
            before[node][direct] = true;
        }
    }
    before
}

fn conflict(a: &Node, b: &Node) -> bool {
    let changes = |a: &Node, b: &Node| {
        a.writes.iter().any(|id| b.reads.contains(id) || b.writes.contains(id))
    };
    changes(a, b) || changes(b, a)
}

fn touches(node: &Node, id: TensorId) -> bool {
    node.reads.contains(&id) || node.writes.contains(&id)
}

/// Checks everything that a schedule and its places promise.
fn check(nodes: &[Node], tensors: &Tensors, lanes: usize) -> Result<(), String> {
    let schedule = Schedule::new(nodes, tensors, lanes);
    let before = before(&schedule);
    for then in 0..nodes.len() {
        if schedule.lane[then] >= lanes {
            return Err(format!("node {then} in lane {} of {lanes}", schedule.lane[then]));
        }
        for &wait in &schedule.after[then] {
            if wait >= then || schedule.lane[wait] == schedule.lane[then] {
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
    let uses = |id: TensorId| -> Vec<usize> {
        (0..nodes.len()).filter(|&node| touches(&nodes[node], id)).collect()
    };
    let mut placed: Vec<(TensorId, usize, Vec<usize>)> = Vec::new();
    for (id, tensor) in tensors.iter() {
        let used = uses(id);
        let wanted = tensor.kind == Kind::Temporary && !used.is_empty();
        match plan.offsets[id.index()] {
            Some(offset) if wanted => placed.push((id, offset, used)),
            None if !wanted => {}
            place => return Err(format!("{tensor:?}, used at {used:?}, has the place {place:?}")),
        }
    }
    for (i, (a, start, uses)) in placed.iter().enumerate() {
        let end = start + tensors[*a].bytes();
        if end > plan.bytes {
            return Err(format!("{a:?} ends at {end} of {}", plan.bytes));
        }
        for (b, other_start, other_uses) in &placed[..i] {
            let other_end = other_start + tensors[*b].bytes();
            let apart = |one: &[usize], other: &[usize]| {
                one.iter().all(|&o| other.iter().all(|&t| before[t][o]))
            };
            let overlap = *start < other_end && *other_start < end;
            if overlap && !apart(uses, other_uses) && !apart(other_uses, uses) {
                return Err(format!("{a:?} and {b:?} share memory while they live"));
            }
        }
    }
    Ok(())
}

#[test]
fn dependences_are_kept_and_memory_is_apart_in_any_program() {
    property(
        256,
        (1usize..25, 0usize..40, 1usize..5, any::<u64>()),
        |(count, nodes, lanes, seed)| {
            let mut source = Source::new(seed);
            let mut module = Module::new();
            let ids: Vec<TensorId> = (0..count)
                .map(|_| {
                    let shape = [source.index(300)];
                    if source.below(5) == 0 {
                        module.persistent("", DType::Real, &shape)
                    } else {
                        module.build("").temporary("", DType::Real, &shape)
                    }
                })
                .collect();
            let nodes: Vec<Node> = (0..nodes)
                .map(|_| {
                    let (reads, writes) = (source.index(4), source.index(3));
                    Node { reads: source.picks(reads, &ids), writes: source.picks(writes, &ids) }
                })
                .collect();
            check(&nodes, module.tensors(), lanes)
        },
    );
}

/// The training step of `depth` equal layers with readout workers.
fn step(method: &str, depth: usize) -> StepProgram {
    let unit = json!({
        "layers": [{"conv": {"filters": 16, "kernel": 3, "padding": 1}}, {"batch_norm": {}}, "relu"],
        "workers": {"readout": {"count": 4, "grid": 2}}
    });
    let network: NetworkConfig =
        serde_json::from_value(json!({"units": vec![unit; depth]})).unwrap();
    let training: TrainingConfig = serde_json::from_value(json!({
        "batch_size": 32, "epochs": 1, "optimizer": {"adamw": {"lr": 0.01}}
    }))
    .unwrap();
    let setup = Setup {
        network: &network,
        leadership: LeadershipConfig::default(),
        training: &training,
        method: by_name(method).unwrap(),
        augmentation: Augmentation::default(),
        normalization: Normalization { mean: vec![0.0; 3], std: vec![1.0; 3] },
        seed: 1,
        limits: Limits::default(),
    };
    StepProgram::new(&setup, [16, 16, 3], 10).unwrap()
}

fn nodes(step: &StepProgram) -> Vec<Node> {
    let ops = step.module.programs()[step.program.0].ops();
    ops.iter().map(|op| Node::of([op as &dyn Operation])).collect()
}

#[test]
fn dependences_are_kept_in_training_steps() {
    for method in ["lfnn-l", "lfnn", "bp"] {
        let step = step(method, 3);
        for lanes in 1..4 {
            check(&nodes(&step), step.module.tensors(), lanes).unwrap();
        }
    }
}

#[test]
fn one_lane_is_the_plan_of_the_core() {
    let step = step("lfnn", 3);
    let tensors = step.module.tensors();
    let nodes = nodes(&step);
    let schedule = Schedule::new(&nodes, tensors, 1);
    assert!(schedule.after.iter().all(Vec::is_empty));
    let bytes = |id| tensors[id].bytes();
    let ops = step.module.programs()[step.program.0].ops();
    let plan = plan_memory_in(tensors, &nodes, &schedule, bytes);
    assert_eq!(plan, plan_memory(tensors, ops, bytes));
}

/// Bytes of the temporaries of a step.
fn temporaries(method: &str, depth: usize, lanes: usize) -> usize {
    let step = step(method, depth);
    let tensors = step.module.tensors();
    let nodes = nodes(&step);
    let schedule = Schedule::new(&nodes, tensors, lanes);
    plan_memory_in(tensors, &nodes, &schedule, |id| tensors[id].bytes()).bytes
}

#[test]
fn memory_is_flat_in_depth_without_backpropagation() {
    for lanes in [1, 2] {
        let [few, some, many] = [4, 16, 64].map(|depth| temporaries("lfnn-l", depth, lanes));
        println!("lfnn-l, {lanes} lanes: {few}, {some}, {many} bytes with 4, 16, 64 units");
        assert!(many <= few + few / 10, "{lanes} lanes: {few} bytes grow to {many}");
        assert!(some <= few + few / 10, "{lanes} lanes: {few} bytes grow to {some}");
        let [few, some, many] = [4, 16, 64].map(|depth| temporaries("bp", depth, lanes));
        println!("bp, {lanes} lanes: {few}, {some}, {many} bytes");
        assert!(some > 2 * few && many > 3 * some, "{few}, {some}, {many}");
    }
}

#[test]
fn a_unit_is_updated_beside_the_next_units_forward_pass() {
    let step = step("lfnn-l", 3);
    let tensors = step.module.tensors();
    let ops = step.module.programs()[step.program.0].ops();
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
