//! Convolutions and linear maps, and their gradients.

use std::error::Error;

use lfnn_core::program::{
    Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Linear, LinearInputGrad, LinearWeightGrad, Window,
};

use crate::case::{BATCH, Case, Suite};

/// Side of the image, channels, filters: the units of `mnist-s`, then those of `cifar10-m`.
const CONVOLUTIONS: [[usize; 3]; 8] = [
    [28, 1, 40],
    [14, 40, 80],
    [7, 80, 120],
    [3, 120, 120],
    [32, 3, 64],
    [16, 64, 128],
    [8, 128, 240],
    [4, 240, 224],
];

/// Inputs, outputs, groups: the units of `mnist-fc`, the readouts of `cifar10-m`, its output layer.
const LINEAR_MAPS: [[usize; 3]; 6] =
    [[784, 320, 1], [320, 320, 1], [1024, 40, 4], [2048, 40, 4], [3840, 40, 4], [3584, 10, 1]];

pub(crate) fn convolutions(suite: &mut Suite) -> Result<(), Box<dyn Error>> {
    let (window, groups) = (Window::square(3, 1, 1), 1);
    for [side, channels, filters] in CONVOLUTIONS {
        let shape = format!("{BATCH}×{side}×{side}×{channels} to {filters}");
        let [small, large] = [channels, filters].map(|extent| [BATCH, side, side, extent]);
        let weights = [filters, 3, 3, channels];

        let mut case = Case::default();
        let (x, weight, y) = (case.input(&small), case.input(&weights), case.output(&large));
        case.push(Conv2d { x, weight, bias: None, y, window, groups });
        suite.measure(&shape, case)?;

        let mut case = Case::default();
        let (x, dy, dweight) = (case.input(&small), case.input(&large), case.output(&weights));
        case.push(Conv2dWeightGrad { x, dy, dweight, dbias: None, window, groups });
        suite.measure(&shape, case)?;

        let mut case = Case::default();
        let (dy, weight, dx) = (case.input(&large), case.input(&weights), case.output(&small));
        case.push(Conv2dInputGrad { dy, weight, dx, window, groups });
        suite.measure(&shape, case)?;
    }
    Ok(())
}

pub(crate) fn linear_maps(suite: &mut Suite) -> Result<(), Box<dyn Error>> {
    for [inputs, outputs, groups] in LINEAR_MAPS {
        let shape = format!("{BATCH}×{inputs} to {outputs}, groups {groups}");
        let (small, large) = ([BATCH, inputs], [BATCH, outputs]);
        let weights = [outputs, inputs / groups];

        let mut case = Case::default();
        let (x, weight, bias) = (case.input(&small), case.input(&weights), case.input(&[outputs]));
        let y = case.output(&large);
        case.push(Linear { x, weight, bias: Some(bias), y, groups });
        suite.measure(&shape, case)?;

        let mut case = Case::default();
        let (x, dy) = (case.input(&small), case.input(&large));
        let (dweight, dbias) = (case.output(&weights), case.output(&[outputs]));
        case.push(LinearWeightGrad { x, dy, dweight, dbias: Some(dbias), groups });
        suite.measure(&shape, case)?;

        let mut case = Case::default();
        let (dy, weight, dx) = (case.input(&large), case.input(&weights), case.output(&small));
        case.push(LinearInputGrad { dy, weight, dx, groups });
        suite.measure(&shape, case)?;
    }
    Ok(())
}
