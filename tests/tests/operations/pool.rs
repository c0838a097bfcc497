//! Pooling of random geometry.

use lfnn_core::program::{
    AdaptiveAvgPool, AdaptiveAvgPoolGrad, AvgPool, AvgPoolGrad, DType, MaxPool, MaxPoolGrad,
    MaxPoolTangent,
};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

use crate::window::{Sliding, pooled};

/// Sums of the values in a window, or of the windows over a value.
const SUMS: Tolerance = Tolerance::sums(1e-6);

#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) sliding: Sliding,
    pub(crate) channels: usize,
    pub(crate) seed: u64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1usize..4, pooled(), 1usize..20, any::<u64>())
        .prop_map(|(batch, sliding, channels, seed)| Shape { batch, sliding, channels, seed })
}

impl Shape {
    fn x(&self) -> [usize; 4] {
        let [height, width] = self.sliding.image;
        [self.batch, height, width, self.channels]
    }

    fn y(&self) -> [usize; 4] {
        let [height, width] = self.sliding.result;
        [self.batch, height, width, self.channels]
    }

    /// A case with a maximum pooling of values among which equal ones are common.
    fn pooled_maximum(&self, store_positions: bool) -> (Case, MaxPool) {
        let mut case = Case::new(self.seed);
        let length = self.x().iter().product();
        let values = case.source.picks(length, &[-2.0, -1.0, -0.0, 0.0, 0.5]);
        let op = MaxPool {
            x: case.real("x", &self.x(), values),
            y: case.output("y", &self.y()),
            position: store_positions.then(|| case.output_of("position", DType::U8, &self.y())),
            window: self.sliding.window,
        };
        case.push(op.clone());
        (case, op)
    }
}

pub(crate) fn max(shape: Shape) -> Result<(), String> {
    let (case, _) = shape.pooled_maximum(shape.seed.is_multiple_of(2));
    case.agrees(Tolerance::EXACT)
}

pub(crate) fn max_grad(shape: Shape) -> Result<(), String> {
    let (mut case, pool) = shape.pooled_maximum(true);
    let dy = case.input("dy", &shape.y());
    let dx = case.output("dx", &shape.x());
    case.push(MaxPoolGrad { dy, position: pool.position.unwrap(), dx, window: pool.window });
    case.agrees(SUMS)
}

pub(crate) fn max_tangent(shape: Shape) -> Result<(), String> {
    let (mut case, pool) = shape.pooled_maximum(true);
    let dx = case.input("dx", &shape.x());
    let dy = case.output("dy", &shape.y());
    case.push(MaxPoolTangent { dx, position: pool.position.unwrap(), dy, window: pool.window });
    case.agrees(Tolerance::EXACT)
}

pub(crate) fn average(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let x = case.input("x", &shape.x());
    let y = case.output("y", &shape.y());
    case.push(AvgPool { x, y, window: shape.sliding.window });
    case.agrees(SUMS)
}

pub(crate) fn average_grad(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let dy = case.input("dy", &shape.y());
    let dx = case.output("dx", &shape.x());
    case.push(AvgPoolGrad { dy, dx, window: shape.sliding.window });
    case.agrees(SUMS)
}

/// An image and the grid that it is averaged to.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    pub(crate) image: [usize; 4],
    pub(crate) grid: [usize; 4],
    pub(crate) seed: u64,
}

fn grids() -> impl Strategy<Value = Grid> {
    (1usize..4, 1usize..11, 1usize..11, 1usize..20, any::<u64>()).prop_flat_map(
        |(batch, height, width, channels, seed)| {
            (1..=height, 1..=width).prop_map(move |(rows, columns)| Grid {
                image: [batch, height, width, channels],
                grid: [batch, rows, columns, channels],
                seed,
            })
        },
    )
}

pub(crate) fn adaptive(grid: Grid) -> Result<(), String> {
    let mut case = Case::new(grid.seed);
    let x = case.input("x", &grid.image);
    let y = case.output("y", &grid.grid);
    case.push(AdaptiveAvgPool { x, y });
    case.agrees(SUMS)
}

pub(crate) fn adaptive_grad(grid: Grid) -> Result<(), String> {
    let mut case = Case::new(grid.seed);
    let dy = case.input("dy", &grid.grid);
    let dx = case.output("dx", &grid.image);
    case.push(AdaptiveAvgPoolGrad { dy, dx });
    case.agrees(SUMS)
}

#[test]
fn max_pool_agrees_also_on_ties() {
    property(256, shapes(), max);
}

#[test]
fn max_pool_grad_agrees() {
    property(256, shapes(), max_grad);
}

#[test]
fn max_pool_tangent_agrees() {
    property(256, shapes(), max_tangent);
}

#[test]
fn average_pool_agrees() {
    property(256, shapes(), average);
}

#[test]
fn average_pool_grad_agrees() {
    property(256, shapes(), average_grad);
}

#[test]
fn adaptive_pool_agrees() {
    property(256, grids(), adaptive);
}

#[test]
fn adaptive_pool_grad_agrees() {
    property(256, grids(), adaptive_grad);
}

properties! {
    max_pool_agrees_also_on_ties of MaxPool, narrow;
    max_pool_grad_agrees of MaxPoolGrad, narrow;
    max_pool_tangent_agrees of MaxPoolTangent, narrow;
    average_pool_agrees of AvgPool, narrow;
    average_pool_grad_agrees of AvgPoolGrad, narrow;
    adaptive_pool_agrees of AdaptiveAvgPool, narrow;
    adaptive_pool_grad_agrees of AdaptiveAvgPoolGrad, narrow;
}
