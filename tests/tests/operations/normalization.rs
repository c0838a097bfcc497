//! Batch normalisation.

use lfnn_core::program::{
    Activate, ActivateGrad, Activation, AdaptiveAvgPool, AdaptiveAvgPoolGrad, Add, BatchNorm,
    BatchNormGrad, BatchNormInference, BatchNormTangent, DType, MaxPool, MaxPoolGrad, TensorId,
    Window,
};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

use crate::elementwise::shapes;

/// Means over all rows, then differences from them. Inputs lie up to 3 from 0 with a deviation of
/// 0.6, so a mean is off by some 1e-6 deviations; ε of at least 10⁻³ keeps `inv_std` below 32 where
/// few rows happen to be close.
const NORMALIZED: Tolerance = Tolerance { element: 1e-5, tensor: 1e-5, absolute: 1e-5 };

/// A shape with several rows, ε and a seed.
pub(crate) type Shape = (Vec<usize>, f64, u64);

fn normalizable() -> impl Strategy<Value = Shape> {
    let rows = shapes().prop_map(|mut shape| {
        shape[0] += 1;
        shape
    });
    (rows, prop_oneof![Just(1e-3), Just(0.1)], any::<u64>())
}

/// What the operations have in common: the input, off centre, and the channels' parameters.
struct Inputs {
    x: TensorId,
    gamma: TensorId,
    beta: TensorId,
}

fn inputs(case: &mut Case, shape: &[usize]) -> Inputs {
    let channels = &shape[shape.len() - 1..];
    let centre = case.source.between(-2.0, 2.0);
    Inputs {
        x: case.input_between("x", shape, centre - 1.0, centre + 1.0),
        gamma: case.input_between("gamma", channels, 0.5, 1.5),
        beta: case.input("beta", channels),
    }
}

/// Training, whose statistics the backward and forward-mode rules use.
fn train(case: &mut Case, shape: &[usize], epsilon: f64) -> BatchNorm {
    let channels = &shape[shape.len() - 1..];
    let Inputs { x, gamma, beta } = inputs(case, shape);
    let op = BatchNorm {
        x,
        gamma,
        beta,
        y: case.output("y", shape),
        mean: case.output("mean", channels),
        inv_std: case.output("inv_std", channels),
        running_mean: case.input("running_mean", channels),
        running_var: case.input_between("running_var", channels, 0.5, 2.0),
        momentum: case.source.pick(&[0.1, 0.01, 1.0]),
        epsilon,
    };
    case.push(op.clone());
    op
}

pub(crate) fn forward((shape, epsilon, seed): Shape) -> Result<(), String> {
    let mut case = Case::new(seed);
    case.runs = case.source.pick(&[1, 3]);
    train(&mut case, &shape, epsilon);
    case.agrees(NORMALIZED)
}

pub(crate) fn inference((shape, epsilon, seed): Shape) -> Result<(), String> {
    let mut case = Case::new(seed);
    let channels = &shape[shape.len() - 1..];
    let Inputs { x, gamma, beta } = inputs(&mut case, &shape);
    let running_mean = case.input("running_mean", channels);
    let running_var = case.input_between("running_var", channels, 0.5, 2.0);
    let y = case.output("y", &shape);
    case.push(BatchNormInference { x, gamma, beta, running_mean, running_var, y, epsilon });
    case.agrees(NORMALIZED)
}

/// The gradients that are wanted: all, the input's alone, or the parameters' alone.
pub(crate) fn grad((shape, epsilon, seed): Shape) -> Result<(), String> {
    let mut case = Case::new(seed);
    let norm = train(&mut case, &shape, epsilon);
    let channels = &shape[shape.len() - 1..];
    let (input, parameters) = case.source.pick(&[(true, true), (true, false), (false, true)]);
    let op = BatchNormGrad {
        x: norm.x,
        mean: norm.mean,
        inv_std: norm.inv_std,
        gamma: norm.gamma,
        dy: case.input("dy", &shape),
        dx: input.then(|| case.output("dx", &shape)),
        dgamma: parameters.then(|| case.output("dgamma", channels)),
        dbeta: parameters.then(|| case.output("dbeta", channels)),
    };
    case.push(op);
    case.agrees(NORMALIZED)
}

/// Any of the three tangents may be missing.
pub(crate) fn tangent((shape, epsilon, seed): Shape) -> Result<(), String> {
    let mut case = Case::new(seed);
    let norm = train(&mut case, &shape, epsilon);
    let channels = &shape[shape.len() - 1..];
    let given = case.source.below(8);
    let op = BatchNormTangent {
        x: norm.x,
        mean: norm.mean,
        inv_std: norm.inv_std,
        gamma: norm.gamma,
        dx: (given & 1 == 0).then(|| case.input("dx", &shape)),
        dgamma: (given & 2 == 0).then(|| case.input("dgamma", channels)),
        dbeta: (given & 4 == 0).then(|| case.input("dbeta", channels)),
        dy: case.output("dy", &shape),
    };
    case.push(op);
    case.agrees(NORMALIZED)
}

/// Images whose windows lie side by side or not, with what is left of the image beside them.
fn pooled() -> impl Strategy<Value = (Vec<usize>, Window, u64)> {
    let windows = (1usize..4, 1usize..4, any::<bool>());
    let images = (2usize..5, 3usize..7, 3usize..7, 1usize..20);
    (images, windows, any::<u64>()).prop_map(|((batch, height, width, channels), window, seed)| {
        let (rows, columns, overlap) = window;
        let kernel = [rows, columns];
        let stride = if overlap { [1, 1] } else { kernel };
        let window = Window { kernel, stride, padding: [0, 0] };
        (vec![batch, height, width, channels], window, seed)
    })
}

/// Values of an image: those of each channel are `value` of 0, 1, 2, …, in an order drawn.
fn by_channel(case: &mut Case, shape: &[usize], value: impl Fn(usize) -> f32) -> Vec<f32> {
    let (channels, of_channel) = (shape[3], shape[..3].iter().product::<usize>());
    let mut values = vec![0.0; channels * of_channel];
    for channel in 0..channels {
        let mut left: Vec<usize> = (0..of_channel).collect();
        for row in 0..of_channel {
            let drawn = left.swap_remove(case.source.index(left.len()));
            values[row * channels + channel] = value(drawn);
        }
    }
    values
}

/// The rules of the ReLU that gave y and of the normalisation before it, from the gradient of y; and the comparison.
fn backwards(mut case: Case, norm: &BatchNorm, y: TensorId, dy: TensorId) -> Result<(), String> {
    let shape = case.shape(y);
    let dn = case.temporary("t", DType::Real, &shape);
    case.push(ActivateGrad { y, dy, dx: dn, function: Activation::Relu });
    let dx = Some(case.output("dx", &shape));
    let [dgamma, dbeta] = ["dgamma", "dbeta"].map(|name| Some(case.output(name, &shape[3..])));
    case.push(BatchNormGrad {
        x: norm.x,
        mean: norm.mean,
        inv_std: norm.inv_std,
        gamma: norm.gamma,
        dy: dn,
        dx,
        dgamma,
        dbeta,
    });
    case.agrees(NORMALIZED)
}

/// An image in which no two values of a channel are close: the same are the largest in every precision.
fn distinct(case: &mut Case, shape: &[usize]) -> TensorId {
    let half = shape[..3].iter().product::<usize>() as f32 / 2.0;
    let values = by_channel(case, shape, |drawn| (drawn as f32 - half) / 8.0);
    case.real("distinct x", shape, values)
}

/// Normalisation, ReLU and maximum pooling, and all their rules backwards: what a backend may do in one pass each way.
pub(crate) fn with_pooling((shape, window, seed): (Vec<usize>, Window, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    let [rows, columns] = window.output([shape[1], shape[2]]).unwrap();
    let small = [shape[0], rows, columns, shape[3]];
    let mut norm = train(&mut case, &shape, 0.1);
    norm.x = distinct(&mut case, &shape);
    let [normal, y, da] = [(); 3].map(|()| case.temporary("t", DType::Real, &shape));
    norm.y = normal;
    let position = case.output_of("position", DType::U8, &small);
    let pooled = case.output("pooled", &small);
    let function = Activation::Relu;
    case.push(norm.clone());
    case.push(Activate { x: normal, y, function });
    case.push(MaxPool { x: y, y: pooled, position: Some(position), window });
    if case.source.coin() {
        // Somebody else looks at it.
        let seen = case.output("seen", &shape);
        case.push(Add { inputs: vec![y, norm.x], y: seen });
    }
    let dy = case.input("dy", &small);
    case.push(MaxPoolGrad { dy, position, dx: da, window });
    backwards(case, &norm, y, da)
}

/// The same in prediction, and in a unit that does not train: there the maxima and the ReLU have rules backwards.
pub(crate) fn pooled_inference(
    (shape, window, seed): (Vec<usize>, Window, u64),
) -> Result<(), String> {
    let mut case = Case::new(seed);
    let Inputs { gamma, beta, .. } = inputs(&mut case, &shape);
    let running_mean = case.input("running_mean", &shape[3..]);
    let running_var = case.input_between("running_var", &shape[3..], 0.5, 2.0);
    let x = distinct(&mut case, &shape);
    let [normal, activated] = [(); 2].map(|()| case.temporary("t", DType::Real, &shape));
    let [rows, columns] = window.output([shape[1], shape[2]]).unwrap();
    let small = [shape[0], rows, columns, shape[3]];
    let y = case.output("pooled", &small);
    let (epsilon, function) = (0.1, Activation::Relu);
    let position = case.source.coin().then(|| case.output_of("position", DType::U8, &small));
    case.push(BatchNormInference { x, gamma, beta, running_mean, running_var, y: normal, epsilon });
    case.push(Activate { x: normal, y: activated, function });
    case.push(MaxPool { x: activated, y, position, window });
    if let Some(position) = position {
        let [da, dn] = [(); 2].map(|()| case.temporary("t", DType::Real, &shape));
        let (dy, dx) = (case.input("dy", &small), case.output("dx", &shape));
        let zeros = case.real("zeros", &shape[3..], vec![0.0; shape[3]]);
        case.push(MaxPoolGrad { dy, position, dx: da, window });
        case.push(ActivateGrad { y: activated, dy: da, dx: dn, function });
        let (beta, running_mean) = (zeros, zeros);
        case.push(BatchNormInference {
            x: dn,
            gamma,
            beta,
            running_mean,
            running_var,
            y: dx,
            epsilon,
        });
    }
    case.agrees(NORMALIZED)
}

/// Images and grids of bins, some of which share pixels or differ in their extents.
fn gridded() -> impl Strategy<Value = (Vec<usize>, [usize; 2], u64)> {
    let images = (2usize..5, 3usize..9, 3usize..9, 1usize..20);
    (images, 1usize..5, 1usize..5, any::<u64>()).prop_map(
        |((batch, height, width, channels), rows, columns, seed)| {
            (vec![batch, height, width, channels], [rows.min(height), columns.min(width)], seed)
        },
    )
}

/// Normalisation, ReLU and the means of bins, and all their rules backwards.
pub(crate) fn with_bins(
    (shape, [rows, columns], seed): (Vec<usize>, [usize; 2], u64),
) -> Result<(), String> {
    let mut case = Case::new(seed);
    let small = [shape[0], rows, columns, shape[3]];
    let channels = &shape[3..];
    let mut norm = train(&mut case, &shape, 0.1);
    let [normal, y, da] = [(); 3].map(|()| case.temporary("t", DType::Real, &shape));
    norm.y = normal;
    // Half of the values of a channel are far below 0 and half far above, so that a ReLU's sign is the same in every
    // precision.
    let values = by_channel(&mut case, &shape, |drawn| {
        let far = 1.0 + (drawn % 7) as f32 / 8.0;
        if drawn % 2 == 0 { far } else { -far }
    });
    norm.x = case.real("x far from 0", &shape, values);
    norm.beta = case.input_between("beta near 0", channels, -0.1, 0.1);
    let means = case.output("means", &small);
    let function = Activation::Relu;
    case.push(norm.clone());
    case.push(Activate { x: normal, y, function });
    case.push(AdaptiveAvgPool { x: y, y: means });
    let dy = case.input("dy", &small);
    case.push(AdaptiveAvgPoolGrad { dy, dx: da });
    backwards(case, &norm, y, da)
}

#[test]
fn normalisation_with_pooling_agrees() {
    property(256, pooled(), with_pooling);
}

#[test]
fn normalisation_with_bins_agrees() {
    property(256, gridded(), with_bins);
}

#[test]
fn inference_with_pooling_agrees() {
    property(128, pooled(), pooled_inference);
}

/// Also where a backend does the two at once.
#[test]
fn a_nan_passes_through_normalisation_and_relu() {
    let mut case = Case::new(1);
    let shape = [2, 3, 3, 5];
    let norm = train(&mut case, &shape, 0.1);
    let mut values = case.source.reals(shape.iter().product(), -1.0, 1.0);
    values[7] = f32::NAN;
    let x = case.real("x with NaN", &shape, values);
    let between = case.temporary("between", DType::Real, &shape);
    let y = case.output("activated", &shape);
    case.push(BatchNorm { x, y: between, ..norm });
    case.push(Activate { x: between, y, function: Activation::Relu });
    case.agrees(NORMALIZED).unwrap();
}

#[test]
fn batch_norm_agrees() {
    property(256, normalizable(), forward);
}

#[test]
fn batch_norm_inference_agrees() {
    property(256, normalizable(), inference);
}

#[test]
fn batch_norm_grad_agrees() {
    property(256, normalizable(), grad);
}

#[test]
fn batch_norm_tangent_agrees() {
    property(256, normalizable(), tangent);
}

properties! {
    normalisation_with_pooling_agrees, narrow;
    normalisation_with_bins_agrees, narrow;
    inference_with_pooling_agrees, narrow;
    a_nan_passes_through_normalisation_and_relu;
    batch_norm_agrees of BatchNorm, narrow;
    batch_norm_inference_agrees of BatchNormInference, narrow;
    batch_norm_grad_agrees of BatchNormGrad, narrow;
    batch_norm_tangent_agrees of BatchNormTangent, narrow;
}
