//! Softmax per worker, and the logits of filter workers.

use lfnn_core::program::{FilterLogits, FilterLogitsGrad, Softmax, SoftmaxGrad};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

/// Exponentials of differences of up to 40, which turn a rounding of 4e-6 in the exponent into a
/// relative one; probabilities are at most 1.
const SOFTMAX: Tolerance = Tolerance { element: 1e-5, tensor: 0.0, absolute: 1e-7 };
/// Means over space and channels.
const SUMS: Tolerance = Tolerance::sums(2e-6);

/// Batch, runs and their width, a range of the input, a seed.
pub(crate) type Runs = (usize, usize, usize, f64, u64);

fn runs() -> impl Strategy<Value = Runs> {
    let ranges = prop_oneof![Just(1.0), Just(20.0)];
    (1usize..20, 1usize..12, 1usize..20, ranges, any::<u64>())
}

pub(crate) fn softmax((batch, n, width, range, seed): Runs) -> Result<(), String> {
    let mut case = Case::new(seed);
    let x = case.input_between("x", &[batch, n * width], -range, range);
    let y = case.output("y", &[batch, n * width]);
    case.push(Softmax { x, y, width });
    case.agrees(SOFTMAX)
}

pub(crate) fn softmax_grad((batch, n, width, _, seed): Runs) -> Result<(), String> {
    let mut case = Case::new(seed);
    let shape = [batch, n * width];
    let x = case.input_between("x", &shape, -2.0, 2.0);
    let y = case.output("y", &shape);
    let dy = case.input("dy", &shape);
    let dx = case.output("dx", &shape);
    case.push(Softmax { x, y, width });
    case.push(SoftmaxGrad { y, dy, dx, width });
    case.agrees(SUMS)
}

/// Filter workers on a small image.
#[derive(Clone, Debug)]
pub(crate) struct Filters {
    pub(crate) batch: usize,
    pub(crate) space: [usize; 2],
    pub(crate) workers: usize,
    pub(crate) per_class: usize,
    pub(crate) width: usize,
    pub(crate) scale: f64,
    pub(crate) seed: u64,
}

fn filters() -> impl Strategy<Value = Filters> {
    (1usize..6, 1usize..8, 1usize..8, 1usize..7, 1usize..4, 1usize..12, 0.1f64..8.0, any::<u64>())
        .prop_map(|(batch, height, width, workers, per_class, classes, scale, seed)| Filters {
            batch,
            space: [height, width],
            workers,
            per_class,
            width: classes,
            scale,
            seed,
        })
}

impl Filters {
    fn x(&self) -> [usize; 4] {
        let channels = self.workers * self.per_class * self.width;
        [self.batch, self.space[0], self.space[1], channels]
    }

    fn z(&self) -> [usize; 2] {
        [self.batch, self.workers * self.width]
    }
}

pub(crate) fn filter_logits(filters: Filters) -> Result<(), String> {
    let mut case = Case::new(filters.seed);
    let x = case.input("x", &filters.x());
    let z = case.output("z", &filters.z());
    let Filters { workers, width, scale, .. } = filters;
    case.push(FilterLogits { x, z, workers, width, scale });
    case.agrees(SUMS)
}

pub(crate) fn filter_logits_grad(filters: Filters) -> Result<(), String> {
    let mut case = Case::new(filters.seed);
    let dz = case.input("dz", &filters.z());
    let dx = case.output("dx", &filters.x());
    let Filters { workers, width, scale, .. } = filters;
    case.push(FilterLogitsGrad { dz, dx, workers, width, scale });
    case.agrees(SUMS)
}

#[test]
fn softmax_agrees() {
    property(256, runs(), softmax);
}

#[test]
fn softmax_grad_agrees() {
    property(256, runs(), softmax_grad);
}

#[test]
fn filter_logits_agree() {
    property(256, filters(), filter_logits);
}

#[test]
fn filter_logits_grad_agrees() {
    property(256, filters(), filter_logits_grad);
}

properties! {
    softmax_agrees of Softmax, narrow;
    softmax_grad_agrees of SoftmaxGrad, narrow;
    filter_logits_agree of FilterLogits, narrow;
    filter_logits_grad_agrees of FilterLogitsGrad, narrow;
}
