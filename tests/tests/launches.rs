//! How many launches a training step is: what a rewrite saves is counted here.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::config::{LeadershipConfig, NetworkConfig, TrainingConfig};
use lfnn_core::method::by_name;
use lfnn_core::train::{Normalization, Setup, StepProgram};
use lfnn_cuda::Precision;
use lfnn_cuda::plan::{Plan, ProgramPlan, Work};
use serde_json::json;

/// The training step of `mnist-s`: four layers of readout workers, batches of 128.
fn mnist_s(method: &str, precision: Precision) -> ProgramPlan {
    planned(method, precision, 128).1
}

/// How many operations that step has with batches of this size, and its plan.
fn planned(method: &str, precision: Precision, batch: usize) -> (usize, ProgramPlan) {
    let unit = |filters: usize, grid: usize, pools: bool| {
        let conv = json!({"filters": filters, "kernel": 3, "padding": 1, "bias": false});
        let then = if pools { json!([{"max_pool": {"kernel": 2}}]) } else { json!([]) };
        json!({
            "layers": [{"conv": conv}, {"batch_norm": {}}, "relu"],
            "workers": {"readout": {"count": 4, "grid": grid}},
            "transition": then
        })
    };
    let units =
        json!([unit(40, 4, true), unit(80, 4, true), unit(120, 4, true), unit(120, 2, false)]);
    let network: NetworkConfig =
        serde_json::from_value(json!({"units": units, "output": {"layers": ["flatten"]}})).unwrap();
    let training: TrainingConfig = serde_json::from_value(json!({
        "batch_size": batch, "epochs": 12,
        "optimizer": {"adamw": {"lr": 3e-3, "weight_decay": 0.05}},
        "schedule": {"one_cycle": {}}
    }))
    .unwrap();
    let setup = Setup {
        leadership: LeadershipConfig { delta: 0.7, ..LeadershipConfig::default() },
        ..Setup::new(&network, &training, by_name(method).unwrap())
            .normalized_by(Normalization { mean: vec![0.5], std: vec![0.3] })
    };
    let step = StepProgram::new(&setup, [28, 28, 1], 10).unwrap();
    let plan = Plan::new(&step.set, precision).unwrap();
    let operations = step.set.programs()[step.program.0].ops().len();
    (operations, plan.programs[step.program.0].clone())
}

/// How many launches of a plan have names of which this is true.
fn count(plan: &ProgramPlan, of: impl Fn(&str) -> bool) -> usize {
    let launches = plan.steps.iter().filter_map(|step| match &step.work {
        Work::Launch(launch) => Some(launch.kernel),
        Work::Product(_) => None,
    });
    launches.filter(|kernel| of(kernel)).count()
}

#[test]
fn convolutions_leave_what_normalisation_needs_of_their_results() {
    for precision in Precision::ALL {
        for method in ["lfnn-l", "lfnn", "bp"] {
            let plan = mnist_s(method, precision);
            assert_eq!(count(&plan, |name| name.starts_with("norm_statistics")), 0);
            assert_eq!(count(&plan, |name| name == "norm_reduce_moments"), 4);
            // The first has so many rows that one block of each 32 channels would take long.
            assert_eq!(count(&plan, |name| name == "norm_merge_moments"), 1);
        }
    }
}

#[test]
fn pooling_is_done_with_the_normalisation_before_it() {
    for method in ["lfnn-l", "lfnn", "bp"] {
        let plan = mnist_s(method, Precision::F32);
        assert_eq!(count(&plan, |name| name == "norm_apply_pool"), 3);
        assert_eq!(count(&plan, |name| name == "norm_apply"), 1);
        assert_eq!(count(&plan, |name| name == "max_pool"), 0);
    }
    // Gradients of workers and of the next unit are added before they reach the ReLU in `lfnn`.
    let bp = mnist_s("bp", Precision::F32);
    assert_eq!(count(&bp, |name| name == "max_pool_grad"), 0);
}

#[test]
fn the_rule_of_equal_bins_is_part_of_the_normalisations() {
    // Of grids of 4 x 4 on 28, 14, 7 and of 2 x 2 on 3 pixels the first alone cuts an image evenly. In `lfnn` the ReLU
    // receives a sum.
    for (method, left) in [("lfnn-l", 3), ("lfnn", 4), ("bp", 0)] {
        let plan = mnist_s(method, Precision::F32);
        assert_eq!(count(&plan, |name| name == "adaptive_pool_grad"), left, "{method}");
    }
}

/// So that a profile tells what the time went into.
#[test]
fn every_operation_is_in_the_steps_of_one_launch_group() {
    for method in ["lfnn-l", "lfnn", "bp"] {
        for precision in [Precision::F32, Precision::F16] {
            let (operations, plan) = planned(method, precision, 128);
            let mut groups: Vec<&[usize]> = plan.steps.iter().map(|step| &step.ops[..]).collect();
            groups.dedup();
            let mut all = groups.concat();
            all.sort_unstable();
            let expected: Vec<usize> = (0..operations).collect();
            assert_eq!(all, expected, "{method}, {}", precision.name());
        }
    }
}

#[test]
fn the_losses_of_a_small_unit_are_one_launch() {
    // Four units and the output layer.
    let small = planned("lfnn-l", Precision::F32, 32).1;
    assert_eq!(count(&small, |name| name == "unit_losses"), 5);
    assert_eq!(count(&small, |name| name == "mean_worker_loss"), 0);
    // One block would be slow: what every worker's predictions go through has launches of its own.
    let large = mnist_s("lfnn-l", Precision::F32);
    for kernel in ["worker_loss", "alignment_target", "local_losses", "local_loss_gradient"] {
        assert_eq!(count(&large, |name| name == kernel), 4, "{kernel}");
    }
}

/// The counts that docs/cuda.md gives.
#[test]
fn launches_of_a_step_are_counted() {
    let counted = ["lfnn-l", "lfnn", "bp"].map(|method| {
        [Precision::F32, Precision::Bf16].map(|precision| mnist_s(method, precision).steps.len())
    });
    assert_eq!(counted, [[113, 125], [141, 156], [54, 62]]);
}
