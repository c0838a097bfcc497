//! Shapes of real networks, where a backend may take other paths than on small ones: several
//! threads, several tiles, chunks of the batch, channels that fill no vector register.

use lfnn_core::program::{Activation, Loss, Predictions};
use lfnn_tests::predictions::PredictionBatch;

use crate::window::{Sliding, signal, square};
use crate::{
    conv, data, elementwise, layer_norm, leaders, linear, losses, metrics, normalization, optimize,
    perturb, pool, shape, workers,
};

fn convolutions() -> Vec<conv::Shape> {
    let shape = |batch, sliding: Sliding, groups, input, out, bias| conv::Shape {
        batch,
        sliding,
        groups,
        input,
        out,
        bias,
        seed: (batch * 1000 + input) as u64,
    };
    vec![
        shape(8, square(28, 3, 1, 1), 1, 1, 40, true),
        shape(4, square(32, 3, 1, 1), 1, 3, 60, true),
        shape(6, square(14, 3, 1, 1), 1, 40, 80, false),
        shape(40, square(7, 3, 1, 1), 1, 24, 33, true),
        shape(8, square(16, 1, 1, 0), 1, 64, 96, true),
        shape(5, square(17, 1, 2, 0), 1, 48, 31, false),
        shape(8, square(17, 3, 2, 1), 1, 20, 36, true),
        shape(4, square(24, 5, 1, 2), 1, 7, 19, true),
        shape(8, square(12, 3, 1, 1), 4, 12, 10, true),
        shape(3, square(64, 3, 1, 1), 1, 3, 16, false),
        shape(3, square(6, 3, 1, 1), 1, 130, 250, true),
        shape(7, square(9, 3, 1, 0), 1, 17, 65, true),
        shape(5, square(5, 3, 1, 2), 1, 33, 16, true),
        shape(2, square(30, 3, 1, 1), 1, 16, 16, false),
        shape(37, square(8, 3, 1, 1), 1, 64, 128, false),
        shape(50, square(4, 3, 1, 1), 1, 96, 24, true),
        shape(2, square(20, 7, 3, 3), 2, 9, 65, false),
        shape(4, square(20, 9, 1, 4), 1, 1, 12, true),
        shape(6, signal(500, 64, 4, 32), 1, 1, 24, true),
        shape(9, signal(300, 9, 1, 4), 1, 12, 20, true),
        shape(7, signal(101, 5, 2, 2), 1, 3, 17, true),
        shape(3, signal(400, 16, 8, 0), 2, 9, 8, false),
    ]
}

#[test]
fn convolutions_agree_on_larger_shapes() {
    for shape in convolutions() {
        conv::forward(shape.clone()).unwrap_or_else(|e| panic!("{shape:?}: {e}"));
        conv::input_grad(shape.clone()).unwrap_or_else(|e| panic!("{shape:?}: {e}"));
        conv::weight_grad(shape.clone()).unwrap_or_else(|e| panic!("{shape:?}: {e}"));
    }
}

/// So many pixels that a backend may join the statistics of their parts in several steps.
#[test]
fn convolution_with_normalisation_agrees_on_many_pixels() {
    let (sliding, bias) = (square(63, 1, 1, 0), true);
    let shape = conv::Shape { batch: 9, sliding, groups: 1, input: 4, out: 32, bias, seed: 6 };
    conv::normalized(shape).unwrap();
}

#[test]
fn linear_maps_agree_on_larger_shapes() {
    let sizes = [(256, 1, 784, 64), (128, 4, 300, 10), (64, 32, 49, 10), (1, 1, 3000, 100)];
    for (batch, groups, input, out) in sizes {
        let shape = linear::Shape { batch, groups, input, out, bias: true, seed: 5 };
        linear::forward(shape.clone()).unwrap();
        linear::input_grad(shape.clone()).unwrap();
        linear::weight_grad(shape).unwrap();
    }
}

#[test]
fn pools_agree_on_larger_shapes() {
    for sliding in [
        square(32, 2, 2, 0),
        square(33, 3, 2, 1),
        square(32, 3, 1, 1),
        signal(500, 4, 4, 0),
        signal(600, 255, 100, 127),
    ] {
        let shape = || pool::Shape { batch: 8, sliding: sliding.clone(), channels: 37, seed: 6 };
        pool::max(shape()).unwrap();
        pool::max_grad(shape()).unwrap();
        pool::max_tangent(shape()).unwrap();
        pool::average(shape()).unwrap();
        pool::average_grad(shape()).unwrap();
    }
    let signal = [16, 1, 250, 60];
    let square = [16, 16, 16, 60];
    for (image, grid) in [
        (square, [16, 4, 4, 60]),
        (square, [16, 1, 1, 60]),
        (square, [16, 5, 3, 60]),
        (signal, [16, 1, 10, 60]),
        (signal, [16, 1, 33, 60]),
    ] {
        let grid = || pool::Grid { image, grid, seed: 7 };
        pool::adaptive(grid()).unwrap();
        pool::adaptive_grad(grid()).unwrap();
    }
}

#[test]
fn elementwise_operations_agree_on_larger_shapes() {
    for shape in [vec![16, 28, 28, 40], vec![7, 40_001]] {
        for function in [Activation::Relu, Activation::Sigmoid, Activation::Tanh] {
            elementwise::activate((shape.clone(), function, 4.0, 8)).unwrap();
            elementwise::activate_grad((shape.clone(), function, 8)).unwrap();
        }
        elementwise::dropout((shape.clone(), 0.2, 8)).unwrap();
        elementwise::add((shape.clone(), 3, 8)).unwrap();
        elementwise::add_bias((shape.clone(), 8)).unwrap();
        elementwise::bias_grad((shape.clone(), 8)).unwrap();
        elementwise::scale_grad((shape.clone(), 8)).unwrap();
    }
}

#[test]
fn normalisation_agrees_on_larger_shapes() {
    for shape in [vec![16, 28, 28, 40], vec![32, 8, 8, 120], vec![256, 300], vec![4000, 3]] {
        normalization::forward((shape.clone(), 1e-5, 9)).unwrap();
        normalization::inference((shape.clone(), 1e-5, 9)).unwrap();
        normalization::grad((shape.clone(), 1e-5, 9)).unwrap();
        normalization::tangent((shape.clone(), 1e-5, 9)).unwrap();
    }
}

#[test]
fn layout_operations_agree_on_larger_shapes() {
    shape::swap(([32, 49, 120, 1], 10)).unwrap();
    shape::swap(([32, 120, 49, 1], 10)).unwrap();
    shape::swap(([800, 4, 8, 12], 10)).unwrap();
    layer_norm::forward((vec![32, 8, 8], 16, 32, 1e-3, 10)).unwrap();
    layer_norm::grad((vec![32, 8, 8], 1, 784, 1e-3, 10)).unwrap();
    shape::concat((vec![64, 14, 14], vec![33, 20, 1], 10)).unwrap();
    shape::split((vec![64, 14, 14], vec![33, 20, 1], 10)).unwrap();
}

#[test]
fn workers_agree_on_larger_shapes() {
    workers::softmax((256, 32, 10, 4.0, 11)).unwrap();
    workers::softmax_grad((256, 32, 10, 4.0, 11)).unwrap();
    let filters = || workers::Filters {
        batch: 64,
        space: [14, 14],
        workers: 4,
        per_class: 2,
        width: 10,
        scale: 5.0,
        seed: 12,
    };
    workers::filter_logits(filters()).unwrap();
    workers::filter_logits_grad(filters()).unwrap();
}

#[test]
fn losses_and_leaders_agree_on_larger_shapes() {
    let cross_entropy = PredictionBatch {
        batch: 256,
        predictions: Predictions { classifiers: 1, workers: 32, classes: 10 },
        loss: Loss::CrossEntropy { smoothing: 0.1 },
    };
    let one_vs_all = PredictionBatch {
        batch: 128,
        predictions: Predictions { classifiers: 10, workers: 128, classes: 1 },
        loss: Loss::Binary { one_vs_all: true, smoothing: 0.0 },
    };
    for of in [cross_entropy, one_vs_all] {
        for seed in 0..4 {
            losses::worker_loss((of, seed)).unwrap();
            losses::mean_worker_loss((of, seed)).unwrap();
            losses::loss_gradient((of, seed)).unwrap();
            losses::local_loss_gradient((of, seed)).unwrap();
            losses::local_losses((of, seed)).unwrap();
            leaders::select((of, seed)).unwrap();
            leaders::epoch((of, seed)).unwrap();
            leaders::alignment((of, seed)).unwrap();
            leaders::mask((of, vec![2, 2], 3, seed)).unwrap();
        }
    }
}

#[test]
fn perturbations_agree_on_larger_shapes() {
    for seed in 0..4 {
        for shape in [vec![32, 14, 14, 40], vec![3, 5000], vec![120, 3, 3, 120], vec![100_000]] {
            perturb::gaussian((shape.clone(), seed)).unwrap();
            perturb::inner_product((shape, seed)).unwrap();
        }
    }
}

#[test]
fn data_metrics_and_optimisers_agree_on_larger_shapes() {
    let augment = Some((4, true, 8));
    let shape = || data::Shape {
        images: 100,
        image: [32, 32, 3],
        batch: 50,
        step: 1,
        augment,
        seed: 13,
        real: false,
    };
    data::images(shape()).unwrap();
    data::labels(shape()).unwrap();
    metrics::accumulate((1000, 0, 900, 50, 14)).unwrap();
    for seed in 0..4 {
        metrics::count((1000, 0, 900, 1, seed)).unwrap();
        optimize::sgd((vec![120, 3, 3, 120], seed)).unwrap();
        optimize::adam((vec![120, 3, 3, 120], seed)).unwrap();
    }
    optimize::clip((vec![vec![120, 3, 3, 120], vec![120], vec![10, 480]], 0, 1.0, 15)).unwrap();
}

properties! {
    convolutions_agree_on_larger_shapes;
    convolution_with_normalisation_agrees_on_many_pixels;
    linear_maps_agree_on_larger_shapes;
    pools_agree_on_larger_shapes;
    elementwise_operations_agree_on_larger_shapes;
    normalisation_agrees_on_larger_shapes;
    layout_operations_agree_on_larger_shapes;
    workers_agree_on_larger_shapes;
    losses_and_leaders_agree_on_larger_shapes;
    data_metrics_and_optimisers_agree_on_larger_shapes;
}
