//! Programs of operations thrown together, on the CPU backend and on the reference.
//!
//! A handful of tensors of one shape are read and overwritten by operations in no sensible order, some
//! of them temporary, some read twice or by nobody. Networks never look like this, and a backend that
//! fuses operations or uses memory again must be right all the same.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::program::{
    Activate, ActivateGrad, Activation, Add, AddBias, BatchNorm, BatchNormGrad, BatchNormInference,
    BatchNormTangent, BiasGrad, Conv2d, DType, Dropout, TensorId, Window,
};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::harness::Case;
use lfnn_tests::parity;
use lfnn_tests::property::property;
use proptest::prelude::*;

/// Tensors of one shape, of which those at the front have been written.
struct Pool {
    shape: Vec<usize>,
    tensors: Vec<TensorId>,
    written: Vec<bool>,
}

impl Pool {
    /// Some persistent tensors, then some temporary ones.
    fn new(case: &mut Case, shape: &[usize]) -> Self {
        let persistent = (0..3).map(|i| case.input(&format!("{shape:?} {i}"), shape)).collect();
        let mut pool = Self { shape: shape.to_vec(), tensors: persistent, written: vec![true; 3] };
        for _ in 0..4 {
            pool.tensors.push(case.temporary("temporary", DType::Real, shape));
            pool.written.push(false);
        }
        pool
    }

    /// A tensor that holds something.
    fn read(&self, case: &mut Case) -> TensorId {
        let written: Vec<TensorId> =
            self.tensors.iter().zip(&self.written).filter(|(_, w)| **w).map(|(&t, _)| t).collect();
        // The latest as often as not, so that chains arise.
        if case.source.coin() { *written.last().unwrap() } else { case.source.pick(&written) }
    }

    /// A tensor to overwrite that is none of these; it comes last from now on.
    fn write(&mut self, case: &mut Case, not: &[TensorId]) -> TensorId {
        let free: Vec<usize> =
            (0..self.tensors.len()).filter(|&i| !not.contains(&self.tensors[i])).collect();
        let chosen = case.source.pick(&free);
        let tensor = self.tensors.remove(chosen);
        self.written.remove(chosen);
        self.tensors.push(tensor);
        self.written.push(true);
        tensor
    }
}

/// The pools of a program: images, and a number for each channel.
struct Soup {
    images: Pool,
    channels: Pool,
    clock: TensorId,
    weight: TensorId,
    running: [TensorId; 2],
}

impl Soup {
    fn new(case: &mut Case, shape: &[usize]) -> Self {
        let channels = shape[shape.len() - 1];
        let bound = 1.0 / (channels as f64).sqrt();
        Self {
            images: Pool::new(case, shape),
            channels: Pool::new(case, &[channels]),
            clock: case.any_clock(),
            weight: case.input_between("weight", &[channels, 1, 1, channels], -bound, bound),
            running: [
                case.input("running_mean", &[channels]),
                case.input_between("running_var", &[channels], 0.5, 1.0),
            ],
        }
    }

    /// Appends an operation.
    fn stir(&mut self, case: &mut Case) {
        let function = case.source.pick(&[Activation::Relu, Activation::Relu, Activation::Tanh]);
        let x = self.images.read(case);
        match case.source.below(10) {
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
                case.push(Dropout { x, clock: self.clock, y, rate: 0.3, stream });
            }
            7 if self.images.shape.len() == 4 => {
                let bias = case.source.coin().then(|| self.channels.read(case));
                let (weight, window) = (self.weight, Window::square(1, 1, 0));
                let y = self.images.write(case, &[x]);
                case.push(Conv2d { x, weight, bias, y, window, groups: 1 });
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
        let read = [x, mean, inv_std, gamma];
        let (dy, slope) = (self.images.read(case), self.images.read(case));
        let dx = self.images.write(case, &[x, dy, slope]);
        case.push(ActivateGrad { y: slope, dy, dx, function });
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
        if case.source.below(4) > 0 {
            let y = self.images.write(case, &[x]);
            case.push(Activate { x, y, function });
        }
    }
}

fn shapes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        (2usize..6, 1usize..20).prop_map(|(a, b)| vec![a, b]),
        (1usize..4, 2usize..5, 1usize..5, 1usize..20).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
    ]
}

#[test]
fn operations_in_any_order_agree_with_the_reference() {
    property(768, (shapes(), 1usize..16, any::<u64>()), |(shape, ops, seed)| {
        let mut case = Case::new(seed);
        let mut soup = Soup::new(&mut case, &shape);
        for _ in 0..ops {
            soup.stir(&mut case);
        }
        parity::agrees(&case)?;
        parity::is_deterministic(&case)
    });
}
