//! The reference backend against answers worked out by hand.
//!
//! Its backward rules are checked by finite differences; here are the definitions that no derivative
//! shows: orders of elements, ties, running statistics, the host interface, the poison.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::backend::{Executable, TensorData, TensorDataMut};
use lfnn_core::program::{
    Activate, Activation, Add, BatchNorm, Conv2d, DType, FilterLogits, MaxPool, Predictions,
    ProgramSet, SelectLeaders, SwapAxes, TensorId, Window,
};
use lfnn_tests::compare::Contents;
use lfnn_tests::harness::Case;
use lfnn_tests::reference::{Reference, ReferenceExecutable};

/// Runs the case and gives the contents of the tensor with this name.
fn result(case: &Case, name: &str) -> Contents {
    let results = case.run(&Reference).unwrap();
    results.into_iter().find(|(other, _)| other == name).unwrap().1
}

fn count_up(n: usize) -> Vec<f32> {
    (1..=n).map(|i| i as f32).collect()
}

#[test]
fn a_convolution_is_a_cross_correlation_with_zeros_around() {
    let mut case = Case::new(0);
    // 1 2 3      1 2
    // 4 5 6  by  3 4, padded by one row above and below
    let x = case.real("x", &[1, 2, 3, 1], count_up(6));
    let weight = case.real("weight", &[1, 2, 2, 1], count_up(4));
    let bias = case.real("bias", &[1], vec![100.0]);
    let y = case.output("y", &[1, 3, 2, 1]);
    let window = Window { kernel: [2, 2], stride: [1, 1], padding: [1, 0] };
    case.push(Conv2d { x, weight, bias: Some(bias), y, window, groups: 1 });
    let expected = vec![111.0, 118.0, 137.0, 147.0, 114.0, 117.0];
    assert_eq!(result(&case, "y"), Contents::Real(expected));
}

#[test]
fn groups_of_a_convolution_do_not_see_one_another() {
    let mut case = Case::new(0);
    let x = case.real("x", &[1, 1, 1, 4], count_up(4));
    let weight = case.real("weight", &[2, 1, 1, 2], vec![1.0, 10.0, 100.0, 1000.0]);
    let y = case.output("y", &[1, 1, 1, 2]);
    case.push(Conv2d { x, weight, bias: None, y, window: Window::square(1, 1, 0), groups: 2 });
    assert_eq!(result(&case, "y"), Contents::Real(vec![21.0, 4300.0]));
}

#[test]
fn of_equal_maxima_the_first_in_the_window_is_taken() {
    let mut case = Case::new(0);
    let x = case.real("x", &[1, 2, 2, 1], vec![-1.0, -1.0, -2.0, -1.0]);
    let y = case.output("y", &[1, 2, 2, 1]);
    let position = case.output_of("position", DType::U8, &[1, 2, 2, 1]);
    // Windows that begin in the padding: positions count from the window's own corner.
    let window = Window::square(2, 2, 1);
    case.push(MaxPool { x, y, position: Some(position), window });
    assert_eq!(result(&case, "y"), Contents::Real(vec![-1.0, -1.0, -2.0, -1.0]));
    assert_eq!(result(&case, "position"), Contents::Bytes(vec![3, 2, 1, 0]));
    let mut case = Case::new(0);
    let x = case.real("x", &[1, 2, 2, 1], vec![-2.0, -1.0, -1.0, -1.0]);
    let y = case.output("y", &[1, 1, 1, 1]);
    let position = case.output_of("position", DType::U8, &[1, 1, 1, 1]);
    case.push(MaxPool { x, y, position: Some(position), window: Window::square(2, 2, 0) });
    assert_eq!(result(&case, "position"), Contents::Bytes(vec![1]));
}

#[test]
fn flattening_puts_channels_first() {
    let mut case = Case::new(0);
    let x = case.real("x", &[1, 1, 3, 2], vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0]);
    let y = case.output("y", &[1, 6]);
    case.push(SwapAxes::channels_first(x, y, &[1, 3, 2]));
    assert_eq!(result(&case, "y"), Contents::Real(vec![1.0, 2.0, 3.0, 10.0, 20.0, 30.0]));
}

#[test]
fn filters_of_a_worker_speak_for_their_class_in_turn() {
    let mut case = Case::new(0);
    // Two workers of two filters for each of two classes.
    let x = case.real("x", &[1, 1, 1, 8], count_up(8));
    let z = case.output("z", &[1, 4]);
    case.push(FilterLogits { x, z, workers: 2, width: 2, scale: 10.0 });
    assert_eq!(result(&case, "z"), Contents::Real(vec![20.0, 30.0, 60.0, 70.0]));
}

#[test]
fn running_statistics_move_towards_the_unbiased_variance() {
    let mut case = Case::new(0);
    let x = case.real("x", &[2, 1], vec![1.0, 3.0]);
    let op = BatchNorm {
        x,
        gamma: case.real("gamma", &[1], vec![2.0]),
        beta: case.real("beta", &[1], vec![5.0]),
        y: case.output("y", &[2, 1]),
        mean: case.output("mean", &[1]),
        inv_std: case.output("inv_std", &[1]),
        running_mean: case.real("running_mean", &[1], vec![0.0]),
        running_var: case.real("running_var", &[1], vec![1.0]),
        momentum: 0.25,
        epsilon: 3.0,
    };
    case.push(op);
    assert_eq!(result(&case, "y"), Contents::Real(vec![4.0, 6.0]));
    assert_eq!(result(&case, "mean"), Contents::Real(vec![2.0]));
    assert_eq!(result(&case, "inv_std"), Contents::Real(vec![0.5]));
    assert_eq!(result(&case, "running_mean"), Contents::Real(vec![0.5]));
    assert_eq!(result(&case, "running_var"), Contents::Real(vec![1.25]));
}

#[test]
fn the_smallest_losses_lead_and_ties_go_to_the_smaller_index() {
    let mut case = Case::new(0);
    let losses = [2.0, 1.0, 1.0, 1.0, f32::NAN, f32::INFINITY, 3.0, f32::NAN];
    let op = SelectLeaders {
        losses: case.real("losses", &[8], losses.to_vec()),
        leaders: case.output("leaders", &[1, 8]),
        best: case.output_of("best", DType::U32, &[1, 2]),
        predictions: Predictions { classifiers: 2, workers: 4, classes: 1 },
        count: 2,
    };
    case.push(op);
    let leaders = vec![0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
    assert_eq!(result(&case, "leaders"), Contents::Real(leaders));
    assert_eq!(result(&case, "best"), Contents::Whole(vec![1, 2]));
}

/// `y = relu(x) + relu(x)` in a module of its own, for the host interface.
fn doubled() -> (ProgramSet, TensorId, TensorId, TensorId) {
    let mut set = ProgramSet::new();
    let x = set.persistent("x", DType::Real, &[2]);
    let y = set.persistent("y", DType::Real, &[2]);
    let mut program = set.build("double");
    let inner = program.real("inner", &[2]);
    program.push(Activate { x, y: inner, function: Activation::Relu });
    program.push(Add { inputs: vec![inner, inner], y });
    program.finish().unwrap();
    (set, x, y, inner)
}

#[test]
fn the_host_reaches_persistent_tensors_of_the_right_type_and_length_alone() {
    let (set, x, y, inner) = doubled();
    let mut on = ReferenceExecutable::new(&set, None);
    on.upload(x, TensorData::Real(&[-1.0, 2.0])).unwrap();
    assert!(on.upload(x, TensorData::Real(&[1.0])).is_err());
    assert!(on.upload(x, TensorData::U32(&[1, 2])).is_err());
    assert!(on.upload(inner, TensorData::Real(&[1.0, 2.0])).is_err());
    on.run(lfnn_core::program::ProgramId(0)).unwrap();
    let mut values = [0.0; 2];
    on.download(y, TensorDataMut::Real(&mut values)).unwrap();
    assert_eq!(values, [0.0, 4.0]);
    assert!(on.download(inner, TensorDataMut::Real(&mut values)).is_err());
    assert!(on.download(y, TensorDataMut::Real(&mut values[..1])).is_err());
}

#[test]
fn temporaries_are_poison_before_and_after_their_life() {
    let (set, x, _, inner) = doubled();
    let mut on = ReferenceExecutable::new(&set, None);
    on.upload(x, TensorData::Real(&[1.0, 2.0])).unwrap();
    assert!(on.download_f64(inner).iter().all(|value| value.is_nan()));
    on.run(lfnn_core::program::ProgramId(0)).unwrap();
    assert!(on.download_f64(inner).iter().all(|value| value.is_nan()));
}
