//! The operations that are thrown together, but for those that pool.

use lfnn_core::program::{
    Activate, ActivateGrad, Activation, Add, AddBias, BatchNorm, BatchNormGrad, BatchNormInference,
    BatchNormTangent, BiasGrad, Conv2d, DType, Dropout, Gaussian, InnerProduct, TensorId, Window,
};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::harness::Case;

use crate::pooling::Pooling;

/// Tensors of one shape that have been written.
pub(crate) struct Pool {
    shape: Vec<usize>,
    tensors: Vec<TensorId>,
}

impl Pool {
    /// Some persistent tensors.
    pub(crate) fn new(case: &mut Case, shape: &[usize]) -> Self {
        let persistent = (0..3).map(|i| case.input(&format!("{shape:?} {i}"), shape)).collect();
        Self { shape: shape.to_vec(), tensors: persistent }
    }

    /// Any tensor, or the latest as often as not, so that chains arise.
    pub(crate) fn read(&self, case: &mut Case) -> TensorId {
        if case.source.coin() {
            return *self.tensors.last().unwrap();
        }
        case.source.pick(&self.tensors)
    }

    /// A tensor to overwrite that is none of these, as often as not a new temporary.
    pub(crate) fn write(&mut self, case: &mut Case, not: &[TensorId]) -> TensorId {
        let free: Vec<usize> =
            (0..self.tensors.len()).filter(|&i| !not.contains(&self.tensors[i])).collect();
        let tensor = if free.is_empty() || case.source.coin() {
            case.temporary("temporary", DType::Real, &self.shape)
        } else {
            self.tensors.remove(case.source.pick(&free))
        };
        self.tensors.push(tensor);
        tensor
    }
}

/// The pools of a program: images, and a number for each channel or for each image.
pub(crate) struct Soup {
    images: Pool,
    channels: Pool,
    factors: Pool,
    pooling: Option<Pooling>,
    counter: TensorId,
    weight: TensorId,
    running: [TensorId; 2],
}

impl Soup {
    pub(crate) fn new(case: &mut Case, shape: &[usize]) -> Self {
        let channels = shape[shape.len() - 1];
        let bound = 1.0 / (channels as f64).sqrt();
        Self {
            images: Pool::new(case, shape),
            channels: Pool::new(case, &[channels]),
            factors: Pool::new(case, &[shape[0], 1, 1]),
            pooling: Pooling::new(case, shape),
            counter: case.any_counter(),
            weight: case.input_between("weight", &[channels, 1, 1, channels], -bound, bound),
            running: [
                case.input("running_mean", &[channels]),
                case.input_between("running_var", &[channels], 0.5, 1.0),
            ],
        }
    }

    /// Appends an operation.
    pub(crate) fn stir(&mut self, case: &mut Case) {
        let function = case.source.pick(&[Activation::Relu, Activation::Relu, Activation::Tanh]);
        let x = self.images.read(case);
        match case.source.below(14) {
            0 | 1 => {
                let y = self.images.write(case, &[x]);
                case.push(Activate { x, y, function });
            }
            2 => {
                let y = self.images.read(case);
                let dx = self.images.write(case, &[x, y]);
                case.push(ActivateGrad { y, dy: x, dx, function });
            }
            3 => {
                let other = self.images.read(case);
                let y = self.images.write(case, &[x, other]);
                case.push(Add { inputs: vec![x, other], y });
            }
            4 => {
                let bias = self.channels.read(case);
                let y = self.images.write(case, &[x]);
                case.push(AddBias { x, bias, y });
            }
            5 => {
                let dbias = self.channels.write(case, &[]);
                case.push(BiasGrad { dy: x, dbias });
                // Large sums would grow without end.
                let y = self.channels.write(case, &[dbias]);
                case.push(Activate { x: dbias, y, function: Activation::Tanh });
            }
            6 => {
                let stream = Stream::new(Purpose::Dropout, case.source.below(100));
                let y = self.images.write(case, &[x]);
                case.push(Dropout { x, counter: self.counter, y, rate: 0.3, stream });
            }
            7 if self.images.shape.len() == 4 => {
                let bias = case.source.coin().then(|| self.channels.read(case));
                let (weight, window) = (self.weight, Window::square(1, 1, 0));
                let y = self.images.write(case, &[x]);
                case.push(Conv2d { x, weight, bias, y, window, groups: 1 });
            }
            8 => self.pool(case, x),
            9 => {
                self.spread(case, &[]);
            }
            10 => {
                let factor = case.source.coin().then(|| self.factors.read(case));
                let stream = Stream::new(Purpose::Perturbation, case.source.below(100));
                let y = self.images.write(case, &[]);
                case.push(Gaussian { counter: self.counter, factor, y, stream });
            }
            11 => {
                let b = self.images.read(case);
                let product = self.factors.write(case, &[]);
                case.push(InnerProduct { a: x, b, y: product });
                // As above.
                let y = self.factors.write(case, &[product]);
                case.push(Activate { x: product, y, function: Activation::Tanh });
            }
            _ => self.normalize(case, x, function),
        }
    }

    /// Batch normalisation of one kind or the other, often with an activation as networks have it,
    /// and in training its rules.
    fn normalize(&mut self, case: &mut Case, x: TensorId, function: Activation) {
        let [running_mean, running_var] = self.running;
        let (gamma, beta) = (self.channels.read(case), self.channels.read(case));
        let y = self.images.write(case, &[x]);
        let epsilon = 0.1;
        if case.source.coin() {
            case.push(BatchNormInference { x, gamma, beta, running_mean, running_var, y, epsilon });
            return self.activate(case, y, function);
        }
        let mean = self.channels.write(case, &[gamma, beta]);
        let inv_std = self.channels.write(case, &[gamma, beta, mean]);
        let momentum = 0.1;
        case.push(BatchNorm {
            x,
            gamma,
            beta,
            y,
            mean,
            inv_std,
            running_mean,
            running_var,
            momentum,
            epsilon,
        });
        self.activate(case, y, function);
        if case.source.coin() {
            return;
        }
        self.disturb(case);
        // Now and then not the γ of the forward pass.
        let gamma = if case.source.below(4) == 0 { self.channels.read(case) } else { gamma };
        let read = [x, mean, inv_std, gamma];
        // Often the result of the activation, the latest.
        let slope = self.images.read(case);
        let dy = match self.spread(case, &[x, slope]) {
            Some(dy) => dy,
            None => self.images.read(case),
        };
        self.disturb(case);
        let dx = self.images.write(case, &[x, dy, slope]);
        case.push(ActivateGrad { y: slope, dy, dx, function });
        self.disturb(case);
        let dy = dx;
        if case.source.below(4) == 0 {
            let result = self.images.write(case, &[x, dy]);
            let (dgamma, dbeta) = (Some(self.channels.read(case)), None);
            let dx = Some(dy);
            case.push(BatchNormTangent { x, mean, inv_std, gamma, dx, dgamma, dbeta, dy: result });
            return;
        }
        let (input, parameters) = case.source.pick(&[(true, true), (true, false), (false, true)]);
        let dx = input.then(|| self.images.write(case, &[x, dy]));
        let dgamma = parameters.then(|| self.channels.write(case, &read));
        let dbeta =
            dgamma.map(|dgamma| self.channels.write(case, &[read.as_slice(), &[dgamma]].concat()));
        case.push(BatchNormGrad { x, mean, inv_std, gamma, dy, dx, dgamma, dbeta });
        for vector in [dgamma, dbeta].into_iter().flatten() {
            let y = self.channels.write(case, &[dgamma.unwrap(), dbeta.unwrap()]);
            case.push(Activate { x: vector, y, function: Activation::Tanh });
        }
    }

    fn activate(&mut self, case: &mut Case, x: TensorId, function: Activation) {
        if case.source.below(4) == 0 {
            return;
        }
        self.disturb(case);
        let other = self.images.read(case);
        if other != x && case.source.below(6) == 0 {
            // What was normalised is overwritten.
            case.push(Activate { x: other, y: x, function });
        }
        let y = self.images.write(case, &[x]);
        case.push(Activate { x, y, function });
        for _ in 0..case.source.below(3) {
            self.disturb(case);
            self.pool(case, y);
        }
    }

    /// Sometimes puts another operation between two that belong together.
    fn disturb(&mut self, case: &mut Case) {
        let x = self.images.read(case);
        match case.source.below(5) {
            0 => self.pool(case, x),
            1 => {
                self.spread(case, &[]);
            }
            2 => {
                let y = self.images.write(case, &[x]);
                case.push(Activate { x, y, function: Activation::Tanh });
            }
            _ => {}
        }
    }

    /// Pools an image, where there are images.
    fn pool(&mut self, case: &mut Case, x: TensorId) {
        if let Some(pooling) = &mut self.pooling {
            pooling.pool(case, x);
        }
    }

    /// Sometimes spreads a gradient over an image that is none of these.
    fn spread(&mut self, case: &mut Case, not: &[TensorId]) -> Option<TensorId> {
        let pooling = self.pooling.as_ref()?;
        if case.source.coin() {
            return None;
        }
        let dx = self.images.write(case, not);
        pooling.spread(case, dx);
        Some(dx)
    }
}
