//! Lower precisions in whole training steps, on the emulator: scaled losses, and networks beside the reference in
//! double precision.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::backend::{Backend, Executable, TensorDataMut};
use lfnn_core::config::{LeadershipConfig, NetworkConfig, TrainingConfig};
use lfnn_core::method::{METHODS, by_name, names};
use lfnn_core::program::Role;
use lfnn_core::program::{
    Activate, ActivateGrad, Activation, AdvanceStepCounter, DType, FollowerLoss, Linear,
    LinearInputGrad, LinearWeightGrad, LocalLoss, LocalLossGradient, Loss, Predictions, ProgramId,
    Reduction, SgdStep, TensorId, WorkerLoss,
};
use lfnn_core::train::{
    Images, Labels, Normalization, Setup, State, StateData, StepProgram, Trainer,
};
use lfnn_cuda::Precision;
use lfnn_cuda::emulator::{Emulator, EmulatorExecutable};
use lfnn_cuda::plan::Plan;
use lfnn_tests::harness::Case;
use lfnn_tests::reference::Reference;
use lfnn_tests::source::Source;
use lfnn_tests::under_test::has_emulator;
use serde_json::{Value, json};

fn emulator(precision: Precision) -> Emulator {
    Emulator { precision, ..Emulator::new(5) }
}

/// A hidden layer and an output layer: of the output layer's weights the gradient of the hidden one is made.
struct Small {
    case: Case,
    program: ProgramId,
    hidden: TensorId,
    gradient: TensorId,
    output: TensorId,
}

/// Two layers under backpropagation; weights of the output layer up to `size`, and the loss
/// times `share`. The gradient of the hidden layer stays
/// for the host to see if it is `kept`.
fn small(size: f64, share: f64, rate: f64, steps: usize, kept: bool) -> Small {
    let [batch, inputs, features, classes] = [4, 3, 8, 5];
    let mut case = Case::new(3);
    let counter = case.counter(0, 0, u32::MAX);
    let x = case.input_between("x", &[batch, inputs], 0.5, 1.0);
    let hidden = case.input_between("hidden", &[features, inputs], 0.1, 1.0);
    let output = case.input_between("output", &[classes, features], -size, size);
    let rates = case.real("rates", &[steps], vec![rate as f32; steps]);
    let target = case.whole_below("target", &[batch], classes as u32);
    let real = |case: &mut Case, shape: &[usize]| case.temporary("t", DType::Real, shape);
    let [a, h, da, dh] = [(); 4].map(|()| real(&mut case, &[batch, features]));
    let [z, probabilities, dz] = [(); 3].map(|()| real(&mut case, &[batch, classes]));
    let losses = real(&mut case, &[batch, 1]);
    let gradient = match kept {
        true => case.output("gradient", &[features, inputs]),
        false => real(&mut case, &[features, inputs]),
    };
    let predictions = Predictions { classifiers: 1, workers: 1, classes };
    let loss = Loss::CrossEntropy { smoothing: 0.0 };
    case.push(Linear { x, weight: hidden, bias: None, y: a, groups: 1 });
    case.push(Activate { x: a, y: h, function: Activation::Relu });
    case.push(Linear { x: h, weight: output, bias: None, y: z, groups: 1 });
    case.push(WorkerLoss {
        z,
        target,
        weights: None,
        output: probabilities,
        losses,
        predictions,
        loss,
    });
    let leaders = case.real("leaders", &[1, 1], vec![1.0]);
    let reference = case.real("reference", &[batch, classes], vec![0.0; batch * classes]);
    case.push(LocalLossGradient {
        z,
        output: probabilities,
        target,
        weights: None,
        leaders,
        reference,
        dz,
        predictions,
        loss: LocalLoss { leader: share, follower: 0.0 },
        worker_loss: loss,
        reduction: Reduction::Sum,
        follower: FollowerLoss::default(),
    });
    case.push(LinearInputGrad { dy: dz, weight: output, dx: dh, groups: 1 });
    case.push(ActivateGrad { y: h, dy: dh, dx: da, function: Activation::Relu });
    case.push(LinearWeightGrad { x, dy: da, dweight: gradient, dbias: None, groups: 1 });
    case.push(SgdStep {
        gradient,
        rates,
        counter,
        factor: None,
        parameter: hidden,
        velocity: None,
        momentum: 0.0,
        nesterov: false,
        weight_decay: 0.0,
    });
    case.push(AdvanceStepCounter { counter });
    let program = case.finish().unwrap();
    Small { case, program, hidden, gradient, output }
}

impl Small {
    fn values(&self, executable: &dyn Executable, id: TensorId) -> Vec<f32> {
        let mut values = vec![0.0; self.case.shape(id).iter().product()];
        executable.download(id, TensorDataMut::Real(&mut values)).unwrap();
        values
    }

    fn prepared(&self, emulator: &Emulator) -> EmulatorExecutable {
        let mut executable = emulator.prepare(self.case.set()).unwrap();
        self.case.upload(&mut executable).unwrap();
        executable
    }

    /// How far the hidden layer's weights move in this many runs.
    fn moved(&self, executable: &mut dyn Executable, runs: usize) -> Vec<f64> {
        let before = self.values(executable, self.hidden);
        for _ in 0..runs {
            executable.run(self.program).unwrap();
        }
        let after = self.values(executable, self.hidden);
        after.iter().zip(before).map(|(a, b)| f64::from(*a) - f64::from(b)).collect()
    }

    /// The same as the reference computes it.
    fn expected(&self, runs: usize) -> Vec<f64> {
        self.moved(&mut self.case.on_reference().unwrap(), runs)
    }
}

fn norm(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// How far `actual` lies from `expected`, as a share of it.
fn distance(actual: &[f64], expected: &[f64]) -> f64 {
    let difference = norm(actual.iter().zip(expected).map(|(a, e)| a - e));
    difference / norm(expected.iter().copied())
}

#[test]
fn gradients_too_small_for_half_precision_train_by_a_scaled_loss_alone() {
    if !has_emulator() {
        return;
    }
    // Gradients of the logits are about 10⁻⁹: zero in half precision.
    let network = small(1.0, 1e-8, 1e7, 100, false);
    let expected = network.expected(3);
    let mut executable = network.prepared(&emulator(Precision::F16));
    let moved = network.moved(&mut executable, 3);
    assert_eq!(executable.loss_scales(), [65536.0]);
    let off = distance(&moved, &expected);
    assert!(off < 0.01, "off by {off} of {expected:?}: {moved:?}");
    // A step whose gradients the host sees is not scaled. It has none, and moves nothing.
    let kept = small(1.0, 1e-8, 1e7, 100, true);
    let mut executable = kept.prepared(&emulator(Precision::F16));
    let moved = kept.moved(&mut executable, 3);
    assert!(executable.loss_scales().is_empty());
    assert!(kept.values(&executable, kept.gradient).iter().all(|&value| value == 0.0));
    assert!(moved.iter().all(|&value| value == 0.0), "{moved:?}");
}

#[test]
fn an_overflow_leaves_out_the_step_and_halves_the_scale() {
    if !has_emulator() {
        return;
    }
    // Errors of the hidden layer of some tens: 65504 is the largest number in half precision.
    let network = small(100.0, 1.0, 1e-6, 100, false);
    let precise = emulator(Precision::F16);
    let mut skipped = 0;
    let mut executable = network.prepared(&precise);
    let before = network.values(&executable, network.hidden);
    let fixed = network.values(&executable, network.output);
    loop {
        executable.run(network.program).unwrap();
        if network.values(&executable, network.hidden) != before {
            break;
        }
        skipped += 1;
        assert_eq!(executable.loss_scales(), [65536.0 / f32::powi(2.0, skipped)]);
        assert!(skipped < 16, "no step is done");
    }
    assert!(skipped > 0, "nothing was too large");
    // The step that was done is the one that the reference does, and left the scale as it was.
    assert_eq!(executable.loss_scales(), [65536.0 / f32::powi(2.0, skipped)]);
    let moved = network.moved(&mut network.prepared(&precise), skipped as usize + 1);
    let expected = network.expected(1);
    let off = distance(&moved, &expected);
    assert!(off < 0.05, "off by {off} of {expected:?}: {moved:?}");
    assert_eq!(network.values(&executable, network.output), fixed);
}

#[test]
fn a_scale_doubles_after_many_good_steps_and_begins_again_with_every_epoch() {
    if !has_emulator() {
        return;
    }
    let precise = emulator(Precision::F16);
    let long = small(0.1, 1.0, 1e-3, 1000, false);
    let mut executable = long.prepared(&precise);
    long.moved(&mut executable, 199);
    assert_eq!(executable.loss_scales(), [65536.0]);
    executable.run(long.program).unwrap();
    assert_eq!(executable.loss_scales(), [131_072.0]);
    // An epoch of two steps that overflow.
    let short = small(1e4, 1.0, 1e-3, 2, false);
    let mut executable = short.prepared(&precise);
    short.moved(&mut executable, 1);
    assert_eq!(executable.loss_scales(), [32768.0]);
    executable.run(short.program).unwrap();
    assert_eq!(executable.loss_scales(), [65536.0]);
}

#[test]
fn no_other_precision_scales() {
    if !has_emulator() {
        return;
    }
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        let network = small(0.1, 1.0, 1e-3, 10, false);
        let mut executable = network.prepared(&emulator(precision));
        network.moved(&mut executable, 1);
        assert!(executable.loss_scales().is_empty(), "{}", precision.name());
    }
}

const COUNT: usize = 48;
const SHAPE: [usize; 3] = [8, 8, 2];

/// Images of three classes that differ in brightness, under noise.
fn data() -> (Vec<u8>, Vec<u32>) {
    let mut source = Source::new(1);
    let labels: Vec<u32> = (0..COUNT as u32).map(|i| i % 3).collect();
    let size: usize = SHAPE.iter().product();
    let mut pixels = Vec::new();
    for &label in &labels {
        pixels.extend((0..size).map(|_| (label * 60 + source.below(100)) as u8));
    }
    (pixels, labels)
}

fn network() -> NetworkConfig {
    let conv = |filters: usize| json!({"conv": {"filters": filters, "kernel": 3, "padding": 1}});
    let readout = json!({"readout": {"count": 4, "grid": 2}});
    serde_json::from_value(json!({
        "units": [
            {"layers": [conv(8), {"batch_norm": {}}, "relu"], "workers": readout,
             "similarity": {"weight": 0.5},
             "transition": [{"max_pool": {"kernel": 2}}]},
            {"layers": [conv(12), {"batch_norm": {}}, "relu"], "workers": readout,
             "similarity": {"weight": 0.5}}
        ]
    }))
    .unwrap()
}

fn training(optimizer: Value) -> TrainingConfig {
    serde_json::from_value(json!({
        "batch_size": 16, "epochs": 3, "optimizer": optimizer, "clip_norm": 5.0,
        "schedule": {"cosine": {"warmup_epochs": 0.0}}
    }))
    .unwrap()
}

/// `frozen` says whether the second unit does not train.
fn with_setup<T>(method: &str, frozen: bool, use_it: impl FnOnce(&Setup<'_>) -> T) -> T {
    let training = training(json!({"sgd": {"lr": 0.05, "momentum": 0.9}}));
    let mut network = network();
    network.units[1].frozen = frozen;
    use_it(&Setup {
        leadership: LeadershipConfig { delta: 0.5, ..LeadershipConfig::default() },
        seed: 11,
        ..Setup::new(&network, &training, by_name(method).unwrap())
            .normalized_by(Normalization { mean: vec![0.4; 2], std: vec![0.3; 2] })
    })
}

/// The states before the first and behind the third step.
fn train(method: &str, frozen: bool, backend: &dyn Backend) -> [State; 2] {
    let (pixels, labels) = data();
    let labels = Labels::Classes(&labels);
    let images = Images { pixels: (&pixels).into(), labels, shape: SHAPE, classes: 3 };
    let examples: Vec<u32> = (0..COUNT as u32).collect();
    with_setup(method, frozen, |setup| {
        let mut trainer = Trainer::from_images(backend, setup, images, &examples).unwrap();
        let before = trainer.state().unwrap();
        for _ in 0..3 {
            trainer.train_step().unwrap();
        }
        [before, trainer.state().unwrap()]
    })
}

/// How far each parameter moved, by name.
fn moved([before, after]: &[State; 2]) -> Vec<(&str, Vec<f64>)> {
    let mut all = Vec::new();
    for (before, after) in before.tensors.iter().zip(&after.tensors) {
        let trained = Role::of_saved(&before.name) == Some(Role::Parameter);
        if !trained || before.name.contains(".running_") {
            continue;
        }
        if let (StateData::Real(a), StateData::Real(b)) = (&after.data, &before.data) {
            let moved = a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
            all.push((before.name.as_str(), moved));
        }
    }
    all
}

/// Three steps of a method: the way of all parameters lies within `tolerance` of the reference's, as a share of it.
fn steps_agree(method: &str, frozen: bool, precision: Precision, tolerance: f64) {
    let reference = train(method, frozen, &Reference);
    let actual = train(method, frozen, &emulator(precision));
    let (expected, actual) = (moved(&reference), moved(&actual));
    let all = |of: &[(&str, Vec<f64>)]| of.iter().flat_map(|(_, way)| way.clone()).collect();
    let [expected, actual]: [Vec<f64>; 2] = [all(&expected), all(&actual)];
    let off = distance(&actual, &expected);
    println!("{method}, {}: {off}", precision.name());
    assert!(off <= tolerance, "{method}, {}: off by {off}", precision.name());
}

#[test]
fn training_steps_of_every_method_agree_in_half_precision() {
    if !has_emulator() {
        return;
    }
    let perturbs_outputs = ["fg-a", "lg-fg-a"];
    for method in names() {
        let more = match method {
            // What passes a ReLU or not, by rounding, counts in a sum of random numbers of either sign as much as any other.
            _ if perturbs_outputs.contains(&method) => 8.0,
            // Its first steps are the longest: what the first one rounds, the third one has several times.
            "dfa" => 2.0,
            _ => 1.0,
        };
        steps_agree(method, false, Precision::F16, 0.01 * more);
        // Without the batch's statistics a rounded pixel more often becomes another maximum.
        steps_agree(method, true, Precision::F16, f64::max(0.03, 0.01 * more));
    }
    for method in perturbs_outputs {
        steps_agree(method, false, Precision::Bf16, 0.2);
    }
    for method in ["lfnn-l", "bp", "lfnn"] {
        steps_agree(method, false, Precision::Bf16, 0.08);
        steps_agree(method, false, Precision::Tf32, 0.01);
    }
}

#[test]
fn every_unit_that_trains_of_a_local_method_has_a_scale_of_its_own_and_any_other_method_one() {
    for (method, frozen) in METHODS.into_iter().flat_map(|method| [(method, false), (method, true)])
    {
        let build = |setup: &Setup<'_>| StepProgram::new(setup, SHAPE, 3);
        let step = with_setup(method.name, frozen, build).unwrap();
        let plan = Plan::new(&step.set, Precision::F16).unwrap();
        let bytes = plan.persistent_bytes - plan.loss_scales;
        let single = Plan::new(&step.set, Precision::F32).unwrap();
        assert_eq!(single.persistent_bytes, single.loss_scales);
        let scales = if method.local { 3 - usize::from(frozen) } else { 1 };
        assert_eq!(bytes, scales * 16, "{}", method.name);
        let steps = &plan.programs[step.program.0].steps;
        let free = steps.iter().filter(|step| ["SgdStep", "AdamStep"].contains(&step.name));
        assert_eq!(free.count(), 0, "{}: a step on no scaled loss", method.name);
    }
}
