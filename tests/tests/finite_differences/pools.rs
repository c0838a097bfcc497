//! Pooling.

use lfnn_core::program::{
    AdaptiveAvgPool, AdaptiveAvgPoolGrad, AvgPool, AvgPoolGrad, DType, MaxPool, MaxPoolGrad,
    MaxPoolTangent, Window,
};
use lfnn_tests::chain::Signal;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

use crate::{check_unary, persistent};

/// An image with values that all differ by more than a finite difference moves them.
fn image(case: &mut Case, shape: [usize; 4]) -> Signal {
    let values = case.source.distinct(shape.iter().product());
    Signal { value: case.real("x", &shape, values), ..persistent(case, "x", &shape) }
}

/// An image of up to 5×5, a window that fits, and the shape of the result.
fn pooled() -> impl Strategy<Value = ([usize; 4], Window, [usize; 4], u64)> {
    let sizes = (1usize..3, 2usize..6, 2usize..6, 1usize..4);
    let window = (1usize..3, 1usize..3, 1usize..3, 0usize..2);
    (sizes, window, any::<u64>()).prop_map(|((b, h, w, c), (rows, columns, stride, p), seed)| {
        let padding = [p.min(rows / 2), p.min(columns / 2)];
        let window = Window { kernel: [rows, columns], stride: [stride, 3 - stride], padding };
        let [height, width] = window.output([h, w]).unwrap();
        ([b, h, w, c], window, [b, height, width, c], seed)
    })
}

#[test]
fn max_pool_has_the_right_derivatives() {
    property(64, pooled(), |(shape, window, result, seed)| {
        let mut case = Case::new(seed);
        let x = image(&mut case, shape);
        let position = case.output_of("position", DType::U8, &result);
        check_unary(case, x, &result, |x, y| {
            [
                vec![MaxPool { x: x.value, y: y.value, position: Some(position), window }.into()],
                vec![MaxPoolGrad { dy: y.gradient, position, dx: x.gradient, window }.into()],
                vec![MaxPoolTangent { dx: x.tangent, position, dy: y.tangent, window }.into()],
            ]
        })
    });
}

#[test]
fn average_pool_has_the_right_derivatives() {
    property(64, pooled(), |(shape, window, result, seed)| {
        let mut case = Case::new(seed);
        let x = image(&mut case, shape);
        check_unary(case, x, &result, |x, y| {
            [
                vec![AvgPool { x: x.value, y: y.value, window }.into()],
                vec![AvgPoolGrad { dy: y.gradient, dx: x.gradient, window }.into()],
                vec![AvgPool { x: x.tangent, y: y.tangent, window }.into()],
            ]
        })
    });
}

#[test]
fn adaptive_pool_has_the_right_derivatives() {
    let grids = (1usize..3, 1usize..7, 1usize..7, 1usize..3)
        .prop_flat_map(|(b, h, w, c)| (Just([b, h, w, c]), 1..=h, 1..=w));
    property(64, (grids, any::<u64>()), |((shape, rows, columns), seed)| {
        let mut case = Case::new(seed);
        let x = image(&mut case, shape);
        check_unary(case, x, &[shape[0], rows, columns, shape[3]], |x, y| {
            [
                vec![AdaptiveAvgPool { x: x.value, y: y.value }.into()],
                vec![AdaptiveAvgPoolGrad { dy: y.gradient, dx: x.gradient }.into()],
                vec![AdaptiveAvgPool { x: x.tangent, y: y.tangent }.into()],
            ]
        })
    });
}
