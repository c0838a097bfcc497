//! Batch normalisation alone, and with the ReLU and the poolings that become one kernel with it.

use std::error::Error;

use lfnn_core::program::{
    Activate, ActivateGrad, Activation, AdaptiveAvgPool, AdaptiveAvgPoolGrad, BatchNorm,
    BatchNormGrad, MaxPool, TensorId, Window,
};

use crate::case::{BATCH, Case, Suite};

/// Side of the image, channels: units of `mnist-s` and of `cifar10-m`.
const IMAGES: [[usize; 2]; 4] = [[28, 40], [14, 80], [32, 64], [8, 240]];
/// Side of the grid that readouts read.
const GRID: usize = 4;

/// What is done with a normalisation.
#[derive(Clone, Copy, PartialEq)]
enum With {
    Nothing,
    Relu,
    Pooling,
}

pub(crate) fn all(suite: &mut Suite) -> Result<(), Box<dyn Error>> {
    for [side, channels] in IMAGES {
        let image = [BATCH, side, side, channels];
        let shape = format!("{BATCH}×{side}×{side}×{channels}");
        suite.measure(&shape, forward(&image, With::Nothing))?;
        suite.measure(&shape, forward(&image, With::Relu))?;
        suite.measure(&shape, forward(&image, With::Pooling))?;
        suite.measure(&shape, backward(&image, With::Nothing))?;
        suite.measure(&shape, backward(&image, With::Relu))?;
        let pooled = backward(&image, With::Pooling);
        suite.measure(&shape, pooled)?;
        suite.measure(&shape, relu(&image))?;
    }
    Ok(())
}

fn relu(image: &[usize; 4]) -> Case {
    let mut case = Case::default();
    let (x, y) = (case.input(image), case.output(image));
    case.push(Activate { x, y, function: Activation::Relu });
    case
}

fn forward(image: &[usize; 4], with: With) -> Case {
    let [batch, side, _, channels] = *image;
    let mut case = Case::default();
    let x = case.input(image);
    let [gamma, beta, running_mean] = std::array::from_fn(|_| case.input(&[channels]));
    let running_var = case.between(&[channels], 0.5, 2.0);
    let [mean, inv_std] = std::array::from_fn(|_| case.output(&[channels]));
    let y = if with == With::Nothing { case.output(image) } else { case.between_operations(image) };
    case.push(BatchNorm {
        x,
        gamma,
        beta,
        y,
        mean,
        inv_std,
        running_mean,
        running_var,
        momentum: 0.1,
        epsilon: 1e-5,
    });
    if with != With::Nothing {
        let a = case.output(image);
        case.push(Activate { x: y, y: a, function: Activation::Relu });
        if with == With::Pooling {
            let window = Window::square(2, 2, 0);
            let pooled = case.output(&[batch, side / 2, side / 2, channels]);
            let grid = case.output(&[batch, GRID, GRID, channels]);
            case.push(MaxPool { x: a, y: pooled, position: None, window });
            case.push(AdaptiveAvgPool { x: a, y: grid });
        }
    }
    case
}

fn backward(image: &[usize; 4], with: With) -> Case {
    let [batch, _, _, channels] = *image;
    let mut case = Case::default();
    let x = case.input(image);
    let [mean, gamma] = std::array::from_fn(|_| case.input(&[channels]));
    let inv_std = case.between(&[channels], 0.5, 2.0);
    let dy = match with {
        With::Nothing => case.input(image),
        With::Relu => {
            let da = case.input(image);
            relu_grad(&mut case, image, da)
        }
        With::Pooling => {
            let dgrid = case.input(&[batch, GRID, GRID, channels]);
            let da = case.between_operations(image);
            case.push(AdaptiveAvgPoolGrad { dy: dgrid, dx: da });
            relu_grad(&mut case, image, da)
        }
    };
    let [dgamma, dbeta] = std::array::from_fn(|_| Some(case.output(&[channels])));
    let dx = Some(case.output(image));
    case.push(BatchNormGrad { x, mean, inv_std, gamma, dy, dx, dgamma, dbeta });
    case
}

/// The gradient before a ReLU, from the one behind it.
fn relu_grad(case: &mut Case, image: &[usize; 4], dy: TensorId) -> TensorId {
    let (y, dx) = (case.input(image), case.between_operations(image));
    case.push(ActivateGrad { y, dy, dx, function: Activation::Relu });
    dx
}
