//! Layers, each candle's own where candle has it with its right gradient, else made of candle's operations.

use anyhow::{Result, bail};
use bench_common::config::Size2;
use bench_common::layer::{
    AdaptiveAvgPoolConfig, AvgPoolConfig, BatchNormConfig, ConvConfig, DropoutConfig, LayerConfig,
    LinearConfig, MaxPoolConfig, PoolConfig, ResidualConfig,
};
use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::{BatchNorm, ops};

/// What a forward pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Statistics of the batch, dropout, gradients.
    Train,
    /// Running statistics, and no graph: parameters are cut off, so nothing is kept for a backward pass.
    Predict,
}

impl Mode {
    /// A parameter as this pass uses it.
    pub(crate) fn of(self, parameter: &Var) -> Tensor {
        match self {
            Self::Train => parameter.as_tensor().clone(),
            Self::Predict => parameter.as_detached_tensor(),
        }
    }
}

/// Layers one after the other.
#[derive(Debug)]
pub(crate) struct Layers {
    layers: Vec<Layer>,
    /// What an input of the given shape becomes, without the batch.
    pub(crate) shape: Vec<usize>,
}

#[derive(Debug)]
enum Layer {
    Conv { weight: Var, bias: Option<Var>, stride: usize, padding: usize, groups: usize },
    Linear(Linear),
    BatchNorm { norm: BatchNorm, weight: Var, bias: Var },
    Relu,
    MaxPool { kernel: usize },
    AvgPool { kernel: usize },
    AdaptiveAvgPool(Grid),
    GlobalAvgPool,
    Dropout { rate: f32 },
    Flatten,
    Residual { body: Layers, shortcut: Layers },
}

/// A linear map `[batch, in]` to `[batch, out]`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Var,
    bias: Option<Var>,
}

/// Means over the bins of a grid.
#[derive(Debug)]
pub(crate) enum Grid {
    /// Bins of one size that do not overlap: a pooling.
    Even(usize),
    /// Shares of every position in every bin, `[positions, bins]`, as candle has no such layer.
    Uneven { shares: Tensor, grid: usize },
}

/// A parameter, uniform within PyTorch's bounds.
pub(crate) fn uniform(shape: &[usize], fan_in: usize) -> Result<Var> {
    let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
    Ok(Var::rand(-bound, bound, shape, &Device::Cpu)?)
}

impl Layers {
    /// Makes layers for inputs of a shape, and adds their parameters to the list.
    pub(crate) fn new(
        given: &[LayerConfig],
        mut shape: Vec<usize>,
        parameters: &mut Vec<Var>,
    ) -> Result<Self> {
        let mut layers = Vec::with_capacity(given.len());
        for config in given {
            let layer;
            (layer, shape) = Layer::new(config, shape, parameters)?;
            layers.push(layer);
        }
        Ok(Self { layers, shape })
    }

    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for layer in &self.layers {
            x = layer.forward(&x, mode)?;
        }
        Ok(x)
    }
}

impl Layer {
    /// A layer, and the shape of its result.
    fn new(
        config: &LayerConfig,
        shape: Vec<usize>,
        parameters: &mut Vec<Var>,
    ) -> Result<(Self, Vec<usize>)> {
        Ok(match (config, &shape[..]) {
            (
                &LayerConfig::Conv(ConvConfig { filters, kernel, stride, padding, groups, bias }),
                &[channels, height, width],
            ) => {
                let [kernel, stride, padding] = [side(kernel)?, side(stride)?, side(padding)?];
                let fan_in = channels / groups * kernel * kernel;
                let weight = uniform(&[filters, channels / groups, kernel, kernel], fan_in)?;
                parameters.push(weight.clone());
                let bias = bias.then(|| uniform(&[filters], fan_in)).transpose()?;
                parameters.extend(bias.clone());
                let after = |extent: usize| (extent + 2 * padding - kernel) / stride + 1;
                let shape = vec![filters, after(height), after(width)];
                (Self::Conv { weight, bias, stride, padding, groups }, shape)
            }
            (&LayerConfig::Linear(LinearConfig { features, bias }), &[own]) => {
                (Self::Linear(Linear::new(own, features, bias, parameters)?), vec![features])
            }
            (&LayerConfig::BatchNorm(BatchNormConfig { momentum, epsilon }), &[channels, ..]) => {
                let ones = Tensor::ones(channels, DType::F32, &Device::Cpu)?;
                let zeros = ones.zeros_like()?;
                let (weight, bias) = (Var::from_tensor(&ones)?, Var::from_tensor(&zeros)?);
                parameters.extend([weight.clone(), bias.clone()]);
                let norm = BatchNorm::new_with_momentum(
                    channels,
                    zeros,
                    ones,
                    weight.as_tensor().clone(),
                    bias.as_tensor().clone(),
                    epsilon,
                    momentum,
                )?;
                (Self::BatchNorm { norm, weight, bias }, shape)
            }
            (LayerConfig::Relu, _) => (Self::Relu, shape),
            (&LayerConfig::MaxPool(MaxPoolConfig(pool)), &[channels, height, width]) => {
                let kernel = disjoint(pool)?;
                (Self::MaxPool { kernel }, vec![channels, height / kernel, width / kernel])
            }
            (&LayerConfig::AvgPool(AvgPoolConfig(pool)), &[channels, height, width]) => {
                let kernel = disjoint(pool)?;
                (Self::AvgPool { kernel }, vec![channels, height / kernel, width / kernel])
            }
            (
                &LayerConfig::AdaptiveAvgPool(AdaptiveAvgPoolConfig { grid }),
                &[channels, height, width],
            ) => {
                let grid = side(grid)?;
                (Self::AdaptiveAvgPool(Grid::new(height, width, grid)?), vec![channels, grid, grid])
            }
            (LayerConfig::GlobalAvgPool, &[channels, _, _]) => {
                (Self::GlobalAvgPool, vec![channels, 1, 1])
            }
            (&LayerConfig::Dropout(DropoutConfig { rate }), _) => {
                (Self::Dropout { rate: rate as f32 }, shape)
            }
            (LayerConfig::Flatten, _) => (Self::Flatten, vec![shape.iter().product()]),
            (LayerConfig::Residual(ResidualConfig { body, shortcut }), _) => {
                let body = Layers::new(body, shape.clone(), parameters)?;
                let shortcut = Layers::new(shortcut, shape, parameters)?;
                let shape = body.shape.clone();
                (Self::Residual { body, shortcut }, shape)
            }
            (config, shape) => bail!("layer {config:?} on {shape:?} is not among those compared"),
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        Ok(match self {
            Self::Conv { weight, bias, stride, padding, groups } => {
                let y = x.conv2d(&mode.of(weight), *padding, *stride, 1, *groups)?;
                match bias {
                    None => y,
                    Some(bias) => y.broadcast_add(&mode.of(bias).reshape((1, (), 1, 1))?)?,
                }
            }
            Self::Linear(linear) => linear.forward(x, mode)?,
            Self::BatchNorm { norm, .. } if mode == Mode::Train => norm.forward_train(x)?,
            Self::BatchNorm { norm, weight, bias } => normalized(x, norm, weight, bias)?,
            Self::Relu => x.relu()?,
            Self::MaxPool { kernel } => max_pool(x, *kernel, mode)?,
            Self::AvgPool { kernel } => cropped(x, *kernel)?.avg_pool2d(*kernel)?,
            Self::AdaptiveAvgPool(grid) => grid.forward(x)?,
            Self::GlobalAvgPool => x.mean_keepdim(D::Minus1)?.mean_keepdim(D::Minus2)?,
            Self::Dropout { rate } if mode == Mode::Train => ops::dropout(x, *rate)?,
            Self::Dropout { .. } => x.clone(),
            Self::Flatten => x.flatten_from(1)?,
            Self::Residual { body, shortcut } => {
                (body.forward(x, mode)? + shortcut.forward(x, mode)?)?
            }
        })
    }
}

/// The extent of windows that lie side by side: candle has gradients of no others.
fn disjoint(pool: PoolConfig) -> Result<usize> {
    let PoolConfig { kernel, stride, padding } = pool;
    if stride.is_some_and(|stride| stride != kernel) || padding != Size2([0, 0]) {
        bail!("candle has no gradient of pooling windows that overlap or reach over the edge");
    }
    side(kernel)
}

/// The side of a square: candle has strides and paddings of no other windows.
pub(crate) fn side(size: Size2) -> Result<usize> {
    match size {
        Size2([height, width]) if height == width => Ok(height),
        _ => bail!("a size of {size} is not a square, and squares alone are compared"),
    }
}

/// The rows and columns that windows side by side cover.
fn cropped(x: &Tensor, kernel: usize) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    Ok(x.narrow(2, 0, height / kernel * kernel)?.narrow(3, 0, width / kernel * kernel)?)
}

/// Maxima of windows side by side.
///
/// candle's own pooling gives a maximum that stands alone 1 / kernel² of its gradient, and takes a wrong neighbour where rows are
/// left over. So it serves only where no gradient passes; elsewhere maxima are taken along rows, then columns.
fn max_pool(x: &Tensor, kernel: usize, mode: Mode) -> Result<Tensor> {
    if mode == Mode::Predict || !x.track_op() {
        return Ok(x.max_pool2d(kernel)?);
    }
    let (batch, channels, height, width) = x.dims4()?;
    let (rows, columns) = (height / kernel, width / kernel);
    let windows = cropped(x, kernel)?.reshape((batch * channels, rows, kernel, columns, kernel))?;
    Ok(windows.max(4)?.max(2)?.reshape((batch, channels, rows, columns))?)
}

/// Batch normalisation with running statistics, as one factor and one summand a channel.
fn normalized(x: &Tensor, norm: &BatchNorm, weight: &Var, bias: &Var) -> Result<Tensor> {
    let deviation = (norm.running_var().detach() + norm.eps())?.sqrt()?;
    let scale = (weight.as_detached_tensor() / deviation)?;
    let shift = (bias.as_detached_tensor() - (norm.running_mean().detach() * &scale)?)?;
    let mut shape = vec![1; x.rank()];
    shape[1] = scale.elem_count();
    Ok(x.broadcast_mul(&scale.reshape(&shape[..])?)?.broadcast_add(&shift.reshape(&shape[..])?)?)
}

impl Linear {
    pub(crate) fn new(
        own: usize,
        features: usize,
        bias: bool,
        parameters: &mut Vec<Var>,
    ) -> Result<Self> {
        let weight = uniform(&[features, own], own)?;
        parameters.push(weight.clone());
        let bias = bias.then(|| uniform(&[features], own)).transpose()?;
        parameters.extend(bias.clone());
        Ok(Self { weight, bias })
    }

    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let y = x.matmul(&mode.of(&self.weight).t()?)?;
        Ok(match &self.bias {
            None => y,
            Some(bias) => y.broadcast_add(&mode.of(bias))?,
        })
    }
}

impl Grid {
    /// A grid of bins over images of this extent, as in PyTorch: bin i begins at `⌊i·extent / grid⌋` and ends before
    /// `⌈(i + 1)·extent / grid⌉`.
    pub(crate) fn new(height: usize, width: usize, grid: usize) -> Result<Self> {
        if height == width && height.is_multiple_of(grid) {
            return Ok(Self::Even(height / grid));
        }
        let bin = |i: usize, extent: usize| i * extent / grid..((i + 1) * extent).div_ceil(grid);
        let mut shares = vec![0.0f32; height * width * grid * grid];
        for (i, j) in (0..grid).flat_map(|i| (0..grid).map(move |j| (i, j))) {
            let (rows, columns) = (bin(i, height), bin(j, width));
            let share = 1.0 / (rows.len() * columns.len()) as f32;
            for (row, column) in rows.flat_map(|row| columns.clone().map(move |c| (row, c))) {
                shares[(row * width + column) * grid * grid + i * grid + j] = share;
            }
        }
        let shape = (height * width, grid * grid);
        Ok(Self::Uneven { shares: Tensor::from_vec(shares, shape, &Device::Cpu)?, grid })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Even(1) => x.clone(),
            Self::Even(kernel) => x.avg_pool2d(*kernel)?,
            Self::Uneven { shares, grid } => {
                let (batch, channels, height, width) = x.dims4()?;
                x.reshape((batch * channels, height * width))?
                    .matmul(shares)?
                    .reshape((batch, channels, *grid, *grid))?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image `[1, 1, side, side]` of distinct numbers in no order.
    fn image(side: usize) -> Var {
        let numbers: Vec<f32> = (0..side * side).map(|i| (i * 7 % 25) as f32).collect();
        let image = Tensor::from_vec(numbers, (1, 1, side, side), &Device::Cpu).unwrap();
        Var::from_tensor(&image).unwrap()
    }

    fn rows(x: &Tensor) -> Vec<Vec<f32>> {
        x.squeeze(0).unwrap().squeeze(0).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn maxima_have_the_whole_gradient_and_what_no_window_covers_has_none() {
        let x = image(5);
        let y = max_pool(&x, 2, Mode::Train).unwrap();
        assert_eq!(rows(&y), rows(&x.max_pool2d(2).unwrap()));
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let given = rows(gradients.get(&x).unwrap());
        let numbers = rows(&x);
        for (i, j) in (0..5).flat_map(|i| (0..5).map(move |j| (i, j))) {
            let window = || {
                (i / 2 * 2..i / 2 * 2 + 2)
                    .flat_map(|r| (j / 2 * 2..j / 2 * 2 + 2).map(move |c| (r, c)))
            };
            let covered = i < 4 && j < 4;
            let largest = covered && window().all(|(r, c)| numbers[r][c] <= numbers[i][j]);
            assert_eq!(given[i][j], if largest { 1.0 } else { 0.0 }, "row {i}, column {j}");
        }
    }

    #[test]
    fn bins_of_a_grid_overlap_where_they_do_not_divide_the_image() {
        let x = image(5);
        let y = rows(&Grid::new(5, 5, 2).unwrap().forward(&x).unwrap());
        let numbers = rows(&x);
        // Rows and columns 0 to 2, and 2 to 4.
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let bin = (0..3).flat_map(|r| (0..3).map(move |c| (2 * i + r, 2 * j + c)));
            let mean = bin.map(|(r, c)| numbers[r][c]).sum::<f32>() / 9.0;
            assert!((y[i][j] - mean).abs() < 1e-5, "{} is not {mean}", y[i][j]);
        }
    }

    #[test]
    fn running_statistics_serve_in_prediction() {
        let given = [LayerConfig::BatchNorm(BatchNormConfig { momentum: 1.0, epsilon: 1e-5 })];
        let layers = Layers::new(&given, vec![1, 5, 5], &mut Vec::new()).unwrap();
        let trained = rows(&layers.forward(&image(5), Mode::Train).unwrap());
        let predicted = rows(&layers.forward(&image(5), Mode::Predict).unwrap());
        // With a momentum of 1 they are the batch's, but for the unbiased variance.
        let ratio = (24.0f32 / 25.0).sqrt();
        for (trained, predicted) in trained.iter().flatten().zip(predicted.iter().flatten()) {
            assert!((trained * ratio - predicted).abs() < 1e-4, "{predicted} after {trained}");
        }
    }
}
