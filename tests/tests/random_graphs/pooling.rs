//! The operations that turn images into fewer numbers, and those that spread gradients over images.

use lfnn_core::program::{
    AdaptiveAvgPool, AdaptiveAvgPoolGrad, AvgPool, AvgPoolGrad, DType, FilterLogits,
    FilterLogitsGrad, MaxPool, MaxPoolGrad, TensorId, Window,
};
use lfnn_tests::harness::Case;

use crate::random_graphs::Pool;

/// Tensors of the shapes of pooled images, of grids and of logits.
pub(crate) struct Pooling {
    window: Window,
    pooled: Pool,
    /// Positions of maxima, of which the first has been written from the start.
    positions: Vec<TensorId>,
    grids: Pool,
    logits: Pool,
    scale: f64,
}

impl Pooling {
    /// None where the shape is not that of images.
    pub(crate) fn new(case: &mut Case, shape: &[usize]) -> Option<Self> {
        let &[batch, height, width, channels] = shape else { return None };
        let window =
            case.source.window([height, width], &[1, 2, 3], &[1, 2, 3], |kernel| kernel / 2);
        let [rows, columns] = window.output([height, width]).unwrap();
        let pooled = [batch, rows, columns, channels];
        let grid = [batch, 1 + case.source.index(height), 1 + case.source.index(width), channels];
        // A maximum of any image gives positions that are valid for every other.
        let x = case.input("first image", shape);
        let y = case.output("first pooled image", &pooled);
        let position = case.output_of("position", DType::U8, &pooled);
        case.push(MaxPool { x, y, position: Some(position), window });
        Some(Self {
            window,
            pooled: Pool::new(case, &pooled),
            positions: vec![position],
            grids: Pool::new(case, &grid),
            logits: Pool::new(case, &[batch, channels]),
            scale: 2.0,
        })
    }

    /// Pools an image in some way.
    pub(crate) fn pool(&mut self, case: &mut Case, x: TensorId) {
        let window = self.window;
        match case.source.below(5) {
            0 | 1 => {
                let y = self.pooled.write(case, &[]);
                let position = case.source.coin().then(|| {
                    let shape = case.shape(y);
                    let position = case.temporary("position", DType::U8, &shape);
                    self.positions.push(position);
                    position
                });
                case.push(MaxPool { x, y, position, window });
            }
            2 => {
                let y = self.pooled.write(case, &[]);
                case.push(AvgPool { x, y, window });
            }
            3 => {
                let y = self.grids.write(case, &[]);
                case.push(AdaptiveAvgPool { x, y });
            }
            _ => {
                let z = self.logits.write(case, &[]);
                let width = case.shape(z)[1];
                case.push(FilterLogits { x, z, workers: 1, width, scale: self.scale });
            }
        }
    }

    /// Spreads a gradient over an image.
    pub(crate) fn spread(&self, case: &mut Case, dx: TensorId) {
        let window = self.window;
        match case.source.below(5) {
            0 | 1 => {
                let dy = self.pooled.read(case);
                let position = case.source.pick(&self.positions);
                case.push(MaxPoolGrad { dy, position, dx, window });
            }
            2 => {
                let dy = self.pooled.read(case);
                case.push(AvgPoolGrad { dy, dx, window });
            }
            3 => {
                let dy = self.grids.read(case);
                case.push(AdaptiveAvgPoolGrad { dy, dx });
            }
            _ => {
                let dz = self.logits.read(case);
                let width = case.shape(dz)[1];
                case.push(FilterLogitsGrad { dz, dx, workers: 1, width, scale: self.scale });
            }
        }
    }
}
