//! Pooling by itself.

use std::error::Error;

use lfnn_core::program::{
    AdaptiveAvgPool, AdaptiveAvgPoolGrad, DType, MaxPool, MaxPoolGrad, Window,
};

use crate::case::{BATCH, Case, Suite};

/// Side of the image, channels, side of the readouts' grid: units of `mnist-s` and of `cifar10-m`.
const IMAGES: [[usize; 3]; 4] = [[28, 40, 4], [14, 80, 4], [32, 64, 4], [8, 240, 4]];

pub(crate) fn all(suite: &mut Suite) -> Result<(), Box<dyn Error>> {
    let window = Window::square(2, 2, 0);
    for [side, channels, grid] in IMAGES {
        let image = [BATCH, side, side, channels];
        let pooled = [BATCH, side / 2, side / 2, channels];
        let shape = format!("{BATCH}×{side}×{side}×{channels}, window 2×2");

        let mut case = Case::default();
        let (x, y) = (case.input(&image), case.output(&pooled));
        case.push(MaxPool { x, y, position: None, window });
        suite.measure(&shape, case)?;

        let mut case = Case::default();
        let (x, y) = (case.input(&image), case.output(&pooled));
        let position = Some(case.output_of(DType::U8, &pooled));
        case.push(MaxPool { x, y, position, window });
        suite.measure(&format!("{shape} with positions"), case)?;

        let mut case = Case::default();
        let (dy, position) = (case.input(&pooled), case.bytes_below(&pooled, 4));
        let dx = case.output(&image);
        case.push(MaxPoolGrad { dy, position, dx, window });
        suite.measure(&shape, case)?;

        let bins = [BATCH, grid, grid, channels];
        let shape = format!("{BATCH}×{side}×{side}×{channels} to {grid}×{grid}");

        let mut case = Case::default();
        let (x, y) = (case.input(&image), case.output(&bins));
        case.push(AdaptiveAvgPool { x, y });
        suite.measure(&shape, case)?;

        let mut case = Case::default();
        let (dy, dx) = (case.input(&bins), case.output(&image));
        case.push(AdaptiveAvgPoolGrad { dy, dx });
        suite.measure(&shape, case)?;
    }
    Ok(())
}
