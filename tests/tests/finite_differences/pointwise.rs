//! Functions of elements, channels and workers, and the moving of elements.

use lfnn_core::program::{
    Activate, ActivateGrad, Activation, Add, AddBias, BiasGrad, Concat, Dropout, FilterLogits,
    FilterLogitsGrad, MaskFollowers, Softmax, SoftmaxGrad, Split, SwapAxes,
};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::chain::Signal;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

use crate::{check_unary, persistent, rules};

/// A signal whose values lie away from 0, where ReLU has a kink.
fn away_from_zero(case: &mut Case, shape: &[usize]) -> Signal {
    let values = case.source.distinct(shape.iter().product());
    Signal { value: case.real("x", shape, values), ..persistent(case, "x", shape) }
}

#[test]
fn activations_have_the_right_derivatives() {
    let functions =
        prop_oneof![Just(Activation::Relu), Just(Activation::Sigmoid), Just(Activation::Tanh)];
    property(128, (functions, 1usize..6, 1usize..6, any::<u64>()), |(function, a, b, seed)| {
        let mut case = Case::new(seed);
        let x = away_from_zero(&mut case, &[a, b]);
        check_unary(case, x, &[a, b], |x, y| {
            let slope = |dy, dx| ActivateGrad { y: y.value, dy, dx, function };
            [
                vec![Activate { x: x.value, y: y.value, function }.into()],
                vec![slope(y.gradient, x.gradient).into()],
                vec![slope(x.tangent, y.tangent).into()],
            ]
        })
    });
}

#[test]
fn dropout_is_its_own_derivative() {
    property(64, (1usize..6, 1usize..6, any::<u64>()), |(a, b, seed)| {
        let mut case = Case::new(seed);
        let counter = case.any_counter();
        let x = persistent(&mut case, "x", &[a, b]);
        let stream = Stream::new(Purpose::Dropout, 3);
        check_unary(case, x, &[a, b], |x, y| {
            let drop = |x, y| vec![Dropout { x, counter, y, rate: 0.4, stream }.into()];
            [drop(x.value, y.value), drop(y.gradient, x.gradient), drop(x.tangent, y.tangent)]
        })
    });
}

#[test]
fn softmax_has_the_right_derivatives() {
    property(64, (1usize..4, 1usize..4, 1usize..6, any::<u64>()), |(batch, n, width, seed)| {
        let mut case = Case::new(seed);
        let shape = [batch, n * width];
        let x = persistent(&mut case, "x", &shape);
        check_unary(case, x, &shape, |x, y| {
            let jacobian = |dy, dx| vec![SoftmaxGrad { y: y.value, dy, dx, width }.into()];
            [
                vec![Softmax { x: x.value, y: y.value, width }.into()],
                jacobian(y.gradient, x.gradient),
                jacobian(x.tangent, y.tangent),
            ]
        })
    });
}

#[test]
fn biases_and_sums_have_the_right_derivatives() {
    property(64, (1usize..4, 1usize..4, 1usize..5, any::<u64>()), |(a, b, channels, seed)| {
        let mut case = Case::new(seed);
        let shape = [a, b, channels];
        let x = persistent(&mut case, "x", &shape);
        let bias = persistent(&mut case, "bias", &[channels]);
        let biased = case.output("biased", &shape);
        let y = persistent(&mut case, "y", &shape);
        // y = x + (x + bias), whose gradients are dy + dy and Σ dy.
        let twice = |bias, x, y| {
            vec![AddBias { x, bias, y: biased }.into(), Add { inputs: vec![x, biased], y }.into()]
        };
        let ops = [
            twice(bias.value, x.value, y.value),
            vec![
                Add { inputs: vec![y.gradient, y.gradient], y: x.gradient }.into(),
                BiasGrad { dy: y.gradient, dbias: bias.gradient }.into(),
            ],
            twice(bias.tangent, x.tangent, y.tangent),
        ];
        rules(&mut case, &[x, bias], y, ops).check(&case, None)
    });
}

#[test]
fn layout_operations_are_each_others_transposes() {
    property(
        64,
        (1usize..3, 1usize..4, 1usize..4, 2usize..6, any::<u64>()),
        |(b, h, w, c, seed)| {
            let mut case = Case::new(seed);
            let x = persistent(&mut case, "x", &[b, h, w, c]);
            check_unary(case.clone(), x, &[b, c * h * w], |x, y| {
                let flatten = |x, y| SwapAxes::channels_first(x, y, &[h, w, c]);
                let forward = flatten(x.value, y.value);
                let backward = forward.inverse(y.gradient, x.gradient);
                let tangent = flatten(x.tangent, y.tangent);
                [vec![forward.into()], vec![backward.into()], vec![tangent.into()]]
            })?;
            // Parts in the other order: [.., c − 1] and [.., 1] are exchanged.
            let long = case.output("long", &[b, h, w, c - 1]);
            let short = case.output("short", &[b, h, w, 1]);
            check_unary(case, x, &[b, h, w, c], |x, y| {
                let exchange = |x, y, first, second| {
                    vec![
                        Split { x, outputs: vec![first, second] }.into(),
                        Concat { inputs: vec![second, first], y }.into(),
                    ]
                };
                [
                    exchange(x.value, y.value, long, short),
                    exchange(y.gradient, x.gradient, short, long),
                    exchange(x.tangent, y.tangent, long, short),
                ]
            })
        },
    );
}

#[test]
fn filter_logits_have_the_right_derivatives() {
    let sizes = (1usize..3, 1usize..4, 1usize..4, 1usize..4, 1usize..3, 1usize..4, any::<u64>());
    property(64, sizes, |(batch, height, columns, workers, per_class, width, seed)| {
        let mut case = Case::new(seed);
        let x = persistent(&mut case, "x", &[batch, height, columns, workers * per_class * width]);
        let scale = 2.5;
        check_unary(case, x, &[batch, workers * width], |x, y| {
            [
                vec![FilterLogits { x: x.value, z: y.value, workers, width, scale }.into()],
                vec![
                    FilterLogitsGrad { dz: y.gradient, dx: x.gradient, workers, width, scale }
                        .into(),
                ],
                vec![FilterLogits { x: x.tangent, z: y.tangent, workers, width, scale }.into()],
            ]
        })
    });
}

#[test]
fn masking_followers_is_its_own_derivative() {
    property(64, (1usize..4, 1usize..5, 1usize..4, any::<u64>()), |(batch, workers, per, seed)| {
        let mut case = Case::new(seed);
        let mask = case.source.picks(batch * workers, &[0.0, 1.0]);
        let leaders = case.real("leaders", &[batch, workers], mask);
        let shape = [batch, workers * per];
        let x = persistent(&mut case, "x", &shape);
        check_unary(case, x, &shape, |x, y| {
            let mask = |x, y| vec![MaskFollowers { x, leaders, y }.into()];
            [mask(x.value, y.value), mask(y.gradient, x.gradient), mask(x.tangent, y.tangent)]
        })
    });
}
