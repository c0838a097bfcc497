//! What "local" means, proved on programs and seen in bits.
//!
//! The proof: a walk backwards over the reads and writes of the training step finds every tensor that
//! can influence an update. In a local method no parameter of a later unit is among them; in any other
//! all are.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use lfnn_core::config::{LeadershipConfig, NetworkConfig, TrainingConfig};
use lfnn_core::method::{METHODS, by_name};
use lfnn_core::program::{Align, Op, Operation, Reduction, TensorId, influences};
use lfnn_core::train::{
    Normalization, Setup, State, StateData, StateTensor, StepProgram, StepTrace, Target,
    TraceInput, trace_step,
};
use lfnn_cpu::Cpu;
use lfnn_tests::source::Source;
use lfnn_tests::weights::weights as random_weights;
use serde_json::json;

const SHAPE: [usize; 3] = [8, 8, 2];
const CLASSES: usize = 3;

/// A unit of each kind, one of them with similarity matching.
fn network() -> NetworkConfig {
    let conv = |filters: usize| json!({"conv": {"filters": filters, "kernel": 3, "padding": 1}});
    serde_json::from_value(json!({
        "units": [
            {"layers": [conv(8), {"batch_norm": {}}, "relu"],
             "workers": {"readout": {"count": 4, "grid": 2}}},
            {"layers": [conv(6), "relu"], "workers": {"heads": [
                {"layers": [conv(4), {"batch_norm": {}}, "relu"], "grid": 2}, {"count": 2, "grid": 2}
            ]}},
            {"layers": [conv(9), "relu"], "workers": {"filters": {"count": 3}},
             "transition": [{"max_pool": {"kernel": 2}}]},
            {"layers": [conv(4), "relu", conv(4), "relu"],
             "workers": {"block": {"count": 2, "grid": 2}},
             "similarity": {"weight": 0.5, "layers": [conv(3)]}},
            {"layers": ["flatten"], "workers": {"neurons": {"count": 4, "output_activation": "relu"}}}
        ]
    }))
    .unwrap()
}

fn step_program(method: &str) -> StepProgram {
    let network = network();
    let training: TrainingConfig = serde_json::from_value(json!({
        "batch_size": 4, "epochs": 1, "optimizer": {"adamw": {"lr": 0.01}}, "clip_norm": 1.0
    }))
    .unwrap();
    let setup = Setup {
        leadership: LeadershipConfig { delta: 0.5, ..LeadershipConfig::default() },
        ..Setup::new(&network, &training, by_name(method).unwrap())
            .normalized_by(Normalization { mean: vec![0.0; 2], std: vec![1.0; 2] })
    };
    StepProgram::new(&setup, SHAPE, CLASSES).unwrap()
}

/// The parameters of each unit, and of the output layer.
fn groups(step: &StepProgram) -> Vec<Vec<TensorId>> {
    let groups = step.parameters.chunk_by(|one, next| one.part == next.part);
    groups.map(|group| group.iter().map(|parameter| parameter.id).collect()).collect()
}

/// For each unit and the output layer (the last), the units on whose parameters its gradients depend.
fn dependence(method: &str) -> Vec<BTreeSet<usize>> {
    let step = step_program(method);
    let program = &step.set.programs()[step.program.0];
    let groups = groups(&step);
    groups
        .iter()
        .map(|group| {
            // The parameters themselves, as the optimiser leaves them: this covers clipping too.
            let trained = step.gradients.iter().filter(|(parameter, _)| group.contains(parameter));
            let found: BTreeSet<_> =
                trained.flat_map(|&(parameter, _)| influences(program, parameter)).collect();
            (0..groups.len()).filter(|&u| groups[u].iter().any(|id| found.contains(id))).collect()
        })
        .collect()
}

fn methods(local: bool) -> impl Iterator<Item = &'static str> {
    METHODS.into_iter().filter(move |method| method.local == local).map(|method| method.name)
}

#[test]
fn in_a_local_method_no_update_depends_on_a_later_unit() {
    assert_eq!(
        methods(true).collect::<Vec<_>>(),
        ["lg-bp", "lg-fg-w", "lg-fg-a", "lfnn-l", "lg-fa"]
    );
    for method in methods(true) {
        for (unit, found) in dependence(method).into_iter().enumerate() {
            assert_eq!(found, (0..=unit).collect(), "{method}: unit {}", unit + 1);
        }
    }
}

#[test]
fn in_any_other_method_every_update_depends_on_every_later_unit() {
    for method in methods(false) {
        for (unit, found) in dependence(method).into_iter().enumerate() {
            assert!((unit..=5).all(|later| found.contains(&later)), "{method}: {unit} {found:?}");
        }
    }
}

/// The same for the gradients as they are before clipping, where the error of the output layer does not change.
fn dependence_beside_the_error(method: &str) -> Vec<BTreeSet<usize>> {
    let step = step_program(method);
    let program = &step.set.programs()[step.program.0];
    let groups = groups(&step);
    let of_group = |group: &Vec<TensorId>| {
        let trained = step.gradients.iter().filter(|(parameter, _)| group.contains(parameter));
        let mut wanted: BTreeSet<_> = trained.map(|&(_, gradient)| gradient).collect();
        for op in program.ops().iter().rev() {
            let (writes, updates) = (op.writes(), op.updates());
            // An update, which comes after the gradients, tells nothing of them.
            let is_update = matches!(op, Op::AdamStep(_));
            if is_update || !writes.iter().chain(&updates).any(|id| wanted.contains(id)) {
                continue;
            }
            writes.iter().for_each(|id| {
                wanted.remove(id);
            });
            if !matches!(op, Op::LossGradient(_)) {
                wanted.extend(op.reads().into_iter().chain(updates));
            }
        }
        (0..groups.len()).filter(|&u| groups[u].iter().any(|id| wanted.contains(id))).collect()
    };
    groups.iter().map(of_group).collect()
}

/// What later units weigh reaches a unit of `dfa` in the error alone: nothing is carried back through them, as it is
/// in `bp`.
#[test]
fn in_dfa_no_update_depends_on_a_later_unit_but_through_the_error() {
    for (unit, found) in dependence_beside_the_error("dfa").into_iter().enumerate() {
        assert!(found.iter().all(|&other| other <= unit), "unit {unit}: {found:?}");
        assert!(unit == 0 || found.contains(&(unit - 1)), "the test itself: {unit}, {found:?}");
    }
    for (unit, found) in dependence_beside_the_error("bp").into_iter().enumerate() {
        assert!((unit + 1..=5).all(|later| found.contains(&later)), "{unit}: {found:?}");
    }
}

/// The local losses of `lg-bp` are those of `lfnn-l` where nobody follows.
#[test]
fn lg_bp_is_lfnn_l_with_every_worker_a_leader() {
    let weights = weights(1);
    for reduction in [Reduction::Sum, Reduction::Mean] {
        let settings = LeadershipConfig { reduction, ..LeadershipConfig::default() };
        let greedy = step("lg-bp", LeadershipConfig { delta: 0.5, ..settings }, &weights);
        let led = step("lfnn-l", LeadershipConfig { delta: 1.0, ..settings }, &weights);
        assert_eq!(greedy.gradients, led.gradients);
        assert_eq!(greedy.units, []);
    }
}

/// So are they where followers see nothing but the labels.
#[test]
fn lg_bp_is_lfnn_l_whose_followers_learn_from_the_labels_alone() {
    let weights = weights(1);
    for align in [Align::Output, Align::Logits, Align::kl(3.0)] {
        let settings = LeadershipConfig {
            delta: 0.5,
            follower_labels: 1.0,
            align,
            ..LeadershipConfig::default()
        };
        let greedy = step("lg-bp", settings, &weights);
        assert_eq!(greedy.gradients, step("lfnn-l", settings, &weights).gradients);
    }
}

fn weights(seed: u64) -> State {
    random_weights(&network(), &SHAPE, CLASSES, 0.5, &mut Source::new(seed))
}

fn step(method: &str, leadership: LeadershipConfig, weights: &State) -> StepTrace {
    let network = network();
    let images = Source::new(7).reals(4 * 2 * 64, -1.0, 1.0);
    let input = TraceInput {
        network: &network,
        leadership,
        label_smoothing: 0.0,
        class_weights: None,
        directions: 1,
        method: by_name(method).unwrap(),
        seed: 1,
        classes: CLASSES,
        images: &images,
        shape: &[4, 2, 8, 8],
        target: Target::Labels(&[0, 1, 2, 1]),
    };
    trace_step(&Cpu::new(Some(2)).unwrap(), &input, weights).unwrap()
}

fn of_unit(state: &State, unit: usize) -> impl Iterator<Item = &StateTensor> {
    let prefix = format!("unit{unit}.");
    state.tensors.iter().filter(move |tensor| tensor.name.starts_with(&prefix))
}

#[test]
fn in_a_local_method_changing_later_units_leaves_the_same_bits() {
    methods(true).for_each(later_units_leave_the_same_bits);
}

fn later_units_leave_the_same_bits(method: &str) {
    let settings = LeadershipConfig { delta: 0.5, ..LeadershipConfig::default() };
    let (first, other) = (weights(1), weights(2));
    let before = step(method, settings, &first);
    for changed in 1..=6 {
        let mut mixed = first.clone();
        for (tensor, new) in mixed.tensors.iter_mut().zip(&other.tensors) {
            let unit = tensor.name.chars().nth(4).and_then(|digit| digit.to_digit(10));
            if unit.is_none_or(|unit| unit as usize >= changed) {
                tensor.data = new.data.clone();
            }
        }
        let after = step(method, settings, &mixed);
        for unit in 1..changed {
            let old: Vec<_> = of_unit(&before.gradients, unit).collect();
            let new: Vec<_> = of_unit(&after.gradients, unit).collect();
            assert!(!old.is_empty());
            assert_eq!(old, new, "{method}: unit {unit} when units from {changed} on changed");
        }
        if changed <= 5 {
            let old: Vec<_> = of_unit(&before.gradients, changed).collect();
            let new: Vec<_> = of_unit(&after.gradients, changed).collect();
            assert_ne!(old, new, "the test itself: {method}, unit {changed} was changed");
        }
    }
}

/// Features that heads share belong to a leader, whoever leads: the global gradient reaches all of them, and no head.
#[test]
fn in_lfnn_the_global_gradient_reaches_every_feature_that_heads_share() {
    let settings = LeadershipConfig {
        delta: 0.4,
        lambda1: 0.0,
        lambda2: 0.0,
        gradient_through_followers: true,
        ..LeadershipConfig::default()
    };
    let weights = weights(1);
    let (lfnn, bp) = (step("lfnn", settings, &weights), step("bp", settings, &weights));
    assert_eq!(lfnn.units[1].leaders.iter().sum::<f32>(), 1.0, "one of three leads");
    let own = |trace: &StepTrace, unit| -> Vec<_> {
        let gradients = of_unit(&trace.gradients, unit).cloned();
        gradients.filter(|tensor| tensor.name.contains(".layer1.")).collect()
    };
    assert!(!own(&lfnn, 2).is_empty());
    assert_eq!(own(&lfnn, 2), own(&bp, 2));
    assert_ne!(own(&lfnn, 1), own(&bp, 1), "the test itself: followers of unit 1 are masked");
    assert!(of_unit(&lfnn.gradients, 2).all(|tensor| !tensor.name.contains(".head")));
}

/// Without local losses the followers' filters have no gradient at all; with the follower loss alone
/// added, theirs is what `lfnn-l`'s follower loss alone gives.
#[test]
fn in_lfnn_followers_get_exactly_the_alignment_gradient() {
    let settings = |lambda1: f64, lambda2: f64| LeadershipConfig {
        delta: 0.5,
        lambda1,
        lambda2,
        ..LeadershipConfig::default()
    };
    let weights = weights(1);
    let global = step("lfnn", settings(0.0, 0.0), &weights);
    let aligned = step("lfnn", settings(0.0, 1.0), &weights);
    let without_leaders = |inspection: &StepTrace, unit: usize, name: &str| -> Vec<f32> {
        let state = &inspection.gradients;
        let tensor = state.get(&format!("unit{unit}.{name}"));
        let StateData::Real(gradient) = &tensor.unwrap().data else { panic!("not real") };
        let leaders = &inspection.units[unit - 1].leaders;
        let per_worker = gradient.len() / leaders.len();
        let rows = gradient.chunks(per_worker).zip(leaders);
        rows.filter(|(_, leads)| **leads == 0.0).flat_map(|(row, _)| row.to_vec()).collect()
    };
    for (unit, name) in [(1, "layer1.weight"), (3, "layer1.weight"), (5, "neurons.weight")] {
        let silent = without_leaders(&global, unit, name);
        assert!(!silent.is_empty() && silent.iter().all(|&g| g == 0.0), "unit {unit}");
        let local =
            step("lfnn-l", LeadershipConfig { lambda: 1.0, ..settings(1.0, 1.0) }, &weights);
        // In lfnn-l the followers' own neurons get nothing but the alignment gradient.
        let expected = without_leaders(&local, unit, name);
        let found = without_leaders(&aligned, unit, name);
        assert!(expected.iter().any(|&g| g != 0.0), "unit {unit}");
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-6 * (1.0 + b.abs()), "unit {unit}: {a} and {b}");
        }
    }
}
