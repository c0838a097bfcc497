//! Phases: halves that run side by side do not wait for one another and share no memory, a unit is updated
//! beside the next one's forward pass, and in `lfnn-l` memory stays flat in depth.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::method::names;
use lfnn_core::program::{
    MemoryPlan, Node, Operation, Order, Part, Phase, Phases, Step, Tensors, plan_memory,
    plan_memory_in,
};
use lfnn_core::train::StepProgram;
use lfnn_tests::property::property;
use lfnn_tests::schedules::{
    check_order, check_plan, conflict, plan_by_definition, random_nodes, training_step,
};
use lfnn_tests::source::Source;
use proptest::prelude::*;

/// Each place's phase and half, worked out from the phases alone.
fn halves(phases: &[Phase]) -> Result<Vec<(usize, usize)>, String> {
    let mut halves = Vec::new();
    for (i, &Phase { begin, middle, end }) in phases.iter().enumerate() {
        if begin != halves.len() || middle < begin || end < middle {
            return Err(format!("{phases:?}"));
        }
        halves.extend((begin..end).map(|place| (i, usize::from(place >= middle))));
    }
    Ok(halves)
}

fn plan(nodes: &[Node], phases: &Phases, tensors: &Tensors) -> MemoryPlan {
    let nodes: Vec<Node> = phases.order.iter().map(|&node| nodes[node].clone()).collect();
    plan_memory_in(tensors, &nodes, phases, |id| tensors[id].bytes())
}

/// Checks everything that phases and their plan promise.
fn check(nodes: &[Node], parts: &[Part], tensors: &Tensors) -> Result<(), String> {
    let phases = Phases::new(nodes, parts, tensors);
    let halves = halves(&phases.phases)?;
    let mut places = vec![usize::MAX; nodes.len()];
    for (place, &node) in phases.order.iter().enumerate() {
        places[node] = place;
    }
    if halves.len() != nodes.len() || places.contains(&usize::MAX) {
        return Err(format!("{} nodes, {phases:?}", nodes.len()));
    }
    // Whether one node is done before another starts, by what phases are.
    let before = |first: usize, then: usize| {
        let ((a, a_half), (b, b_half)) = (halves[places[first]], halves[places[then]]);
        places[first] < places[then] && (a < b || a_half == b_half)
    };
    for then in 0..nodes.len() {
        for first in 0..then {
            if conflict(&nodes[first], &nodes[then]) && !before(first, then) {
                return Err(format!("{first} and {then} are not in order"));
            }
        }
        for other in 0..nodes.len() {
            if phases.ordered(places[other], places[then]) != before(other, then) {
                return Err(format!("`ordered` is wrong about {other} and {then}"));
            }
        }
    }

    let plan = plan(nodes, &phases, tensors);
    let ordered: Vec<Node> = phases.order.iter().map(|&node| nodes[node].clone()).collect();
    check_order(&phases, nodes.len())?;
    let same = plan_by_definition(&ordered, tensors, |first, then| phases.ordered(first, then));
    if plan != same {
        return Err(format!("{plan:?}, by definition {same:?}"));
    }
    check_plan(nodes, tensors, &plan, before)
}

#[test]
fn dependences_are_kept_and_memory_is_apart_in_any_program() {
    property(256, (1usize..25, 0usize..40, any::<u64>()), |(count, nodes, seed)| {
        let mut source = Source::new(seed);
        let (set, nodes) = random_nodes(&mut source, count, nodes);
        let mut part = Part::Batch;
        let mut next = || {
            if source.below(4) == 0 {
                part = source.pick(&[Part::Batch, Part::Unit(1), Part::Unit(2), Part::Output]);
            }
            part
        };
        let parts: Vec<Part> = nodes.iter().map(|_| next()).collect();
        check(&nodes, &parts, set.tensors())
    });
}

fn nodes(step: &StepProgram) -> (Vec<Node>, Vec<Part>) {
    let program = &step.set.programs()[step.program.0];
    let nodes = program.ops().iter().map(|op| Node::of([op as &dyn Operation])).collect();
    (nodes, program.parts().to_vec())
}

#[test]
fn dependences_are_kept_in_training_steps() {
    for method in names() {
        let step = training_step(method, 3);
        let (nodes, parts) = nodes(&step);
        check(&nodes, &parts, step.set.tensors())
            .unwrap_or_else(|fault| panic!("{method}: {fault}"));
    }
}

#[test]
fn in_order_is_the_plan_of_one_thread() {
    let step = training_step("lfnn", 3);
    let tensors = step.set.tensors();
    let (nodes, _) = nodes(&step);
    let ops = step.set.programs()[step.program.0].ops();
    let expected = plan_memory(tensors, ops, |id| tensors[id].bytes());
    assert_eq!(plan_by_definition(&nodes, tensors, |first, then| first < then), expected);
    assert_eq!(plan(&nodes, &Phases::in_order(nodes.len()), tensors), expected);
}

/// Whether two operations, named with a tensor that they touch, may run at the same time.
fn side_by_side(step: &StepProgram, [one, other]: [(&str, &str); 2]) -> bool {
    let tensors = step.set.tensors();
    let ops = step.set.programs()[step.program.0].ops();
    let (nodes, parts) = nodes(step);
    let phases = Phases::new(&nodes, &parts, tensors);
    let place = |(name, touched): (&str, &str)| {
        let wanted = |&node: &usize| {
            let touches = nodes[node].uses();
            ops[node].name() == name
                && touches.iter().any(|&id| tensors[id].name.starts_with(touched))
        };
        let place = phases.order.iter().position(wanted);
        place.unwrap_or_else(|| panic!("no {name} of {touched}"))
    };
    let (one, other) = (place(one), place(other));
    !phases.ordered(one, other) && !phases.ordered(other, one)
}

#[test]
fn a_unit_is_updated_beside_the_next_units_forward_pass() {
    let step = training_step("lfnn-l", 3);
    for (unit, next) in [("unit1.", "unit2."), ("unit2.", "unit3.")] {
        for update in ["Linear", "AdamStep"] {
            assert!(side_by_side(&step, [(update, unit), ("Conv2d", next)]), "{update} of {unit}");
        }
    }
    assert!(!side_by_side(&step, [("AdamStep", "unit1."), ("Conv2d", "unit3.")]));
}

#[test]
fn memory_is_flat_in_depth_without_backpropagation() {
    let bytes = |method: &str| {
        [4, 16, 64].map(|depth| {
            let step = training_step(method, depth);
            let (nodes, parts) = nodes(&step);
            let tensors = step.set.tensors();
            plan(&nodes, &Phases::new(&nodes, &parts, tensors), tensors).bytes
        })
    };
    let [few, some, many] = bytes("lfnn-l");
    println!("lfnn-l: {few}, {some}, {many} bytes with 4, 16, 64 units");
    assert!(some <= few + few / 20 && many <= few + few / 20, "{few}, {some}, {many}");
    let [few, some, many] = bytes("bp");
    println!("bp: {few}, {some}, {many} bytes");
    assert!(some > 2 * few && many > 3 * some, "{few}, {some}, {many}");
}
