//! Nonlinearities, sums of tensors, dropout.

use lfnn_core::program::{Activation, step_counter};
use lfnn_core::random::Stream;
use rayon::prelude::*;

use crate::memory::{Input, Output};
use crate::simd::vectorized;
use crate::work::{CHUNK, Kernel, ScratchSize, Workspace, for_chunks, kernel};

vectorized! {
    /// Keeps a NaN, which must not disappear here but be noticed in the loss.
    pub(crate) fn relu(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if x < 0.0 { 0.0 } else { x };
        }
    }

    /// The same in place.
    pub(crate) fn relu_in_place(y: &mut [f32]) {
        for y in y {
            *y = if *y < 0.0 { 0.0 } else { *y };
        }
    }

    fn relu_grad(y: &[f32], dy: &[f32], dx: &mut [f32]) {
        for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
            *dx = if y > 0.0 { dy } else { 0.0 };
        }
    }

    fn sigmoid_grad(y: &[f32], dy: &[f32], dx: &mut [f32]) {
        for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
            *dx = y * (1.0 - y) * dy;
        }
    }

    fn tanh_grad(y: &[f32], dy: &[f32], dx: &mut [f32]) {
        for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
            *dx = (1.0 - y * y) * dy;
        }
    }

    fn sum_two(a: &[f32], b: &[f32], y: &mut [f32]) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = a + b;
        }
    }

    /// Adds x to y.
    pub(crate) fn add(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }

    /// Elements `first..`, a multiple of 4, of a tensor.
    fn dropout(
        x: &[f32],
        y: &mut [f32],
        first: usize,
        stream: Stream,
        seed: u64,
        epoch: u32,
        step: u32,
        threshold: u32,
        scale: f32,
    ) {
        for (i, (y, x)) in y.chunks_mut(4 * BLOCKS).zip(x.chunks(4 * BLOCKS)).enumerate() {
            let block = first / 4 + i * BLOCKS;
            let of_blocks = stream.blocks::<BLOCKS>(seed, epoch, step, block as u32);
            let mut words = [0; 4 * BLOCKS];
            for (block, words) in words.chunks_exact_mut(4).enumerate() {
                for (word, of_blocks) in words.iter_mut().zip(&of_blocks) {
                    *word = of_blocks[block];
                }
            }
            for ((y, x), word) in y.iter_mut().zip(x).zip(words) {
                *y = if word >= threshold { x * scale } else { 0.0 };
            }
        }
    }
}

/// Blocks of random words that are made at once: some vectors of them, so that none waits for another.
const BLOCKS: usize = 32;

/// The logistic function.
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

kernel! {
    Activate { x: Input<f32>, y: Output<f32> }
    with |op, bind| { function: Activation = op.function }
}

impl Kernel for Activate {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (x, y) = (self.x.get(), self.y.get());
        match self.function {
            Activation::Relu => for_chunks(CHUNK, x, y, relu),
            Activation::Sigmoid => for_chunks(CHUNK / 4, x, y, |x, y| {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = sigmoid(x));
            }),
            Activation::Tanh => for_chunks(CHUNK / 4, x, y, |x, y| {
                y.iter_mut().zip(x).for_each(|(y, x)| *y = x.tanh());
            }),
        }
    }
}

kernel! {
    ActivateGrad { y: Input<f32>, dy: Input<f32>, dx: Output<f32> }
    with |op, bind| { function: Activation = op.function }
}

impl Kernel for ActivateGrad {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let kernel = match self.function {
            Activation::Relu => relu_grad,
            Activation::Sigmoid => sigmoid_grad,
            Activation::Tanh => tanh_grad,
        };
        let inputs = self.y.get().par_chunks(CHUNK).zip(self.dy.get().par_chunks(CHUNK));
        let dx = self.dx.get().par_chunks_mut(CHUNK);
        dx.zip(inputs).for_each(|(dx, (y, dy))| kernel(y, dy, dx));
    }
}

kernel! {
    Add { inputs: Vec<Input<f32>>, y: Output<f32> }
}

impl Kernel for Add {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::default().with_table(&self.inputs)
    }

    fn run(&mut self, _: &mut Workspace<'_>) {
        let [a, b, rest @ ..] = self.inputs.as_slice() else { return };
        let ab = a.get().par_chunks(CHUNK).zip(b.get().par_chunks(CHUNK));
        self.y.get().par_chunks_mut(CHUNK).zip(ab).for_each(|(y, (a, b))| sum_two(a, b, y));
        for x in rest {
            for_chunks(CHUNK, x.get(), self.y.get(), add);
        }
    }
}

kernel! {
    Dropout { x: Input<f32>, counter: Input<u32>, y: Output<f32> }
    with |op, bind| {
        threshold: u32 = (op.rate * 4_294_967_296.0) as u32,
        scale: f32 = (1.0 / (1.0 - op.rate)) as f32,
        stream: Stream = op.stream,
    }
}

impl Kernel for Dropout {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let Self { threshold, scale, stream, .. } = *self;
        let now = self.counter.get();
        let (seed, epoch, step) =
            (step_counter::seed(now), now[step_counter::EPOCH], now[step_counter::STEP]);
        let x = self.x.get().par_chunks(CHUNK);
        self.y.get().par_chunks_mut(CHUNK).zip(x).enumerate().for_each(|(i, (y, x))| {
            dropout(x, y, i * CHUNK, stream, seed, epoch, step, threshold, scale);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relu_is_zero_below_zero_and_keeps_a_nan() {
        let mut y = [9.0; 4];
        relu(&[-1.0, 0.0, 2.5, f32::NAN], &mut y);
        assert_eq!(y[..3], [0.0, 0.0, 2.5]);
        assert!(y[3].is_nan());
        let mut dx = [9.0; 3];
        relu_grad(&[0.0, 0.0, 2.5], &[1.0, 2.0, 3.0], &mut dx);
        assert_eq!(dx, [0.0, 0.0, 3.0]);
    }

    #[test]
    fn the_derivatives_of_sigmoid_and_tanh_follow_from_the_output() {
        let mut dx = [0.0; 2];
        sigmoid_grad(&[0.5, 0.25], &[2.0, 4.0], &mut dx);
        assert_eq!(dx, [0.5, 0.75]);
        tanh_grad(&[0.5, 0.0], &[2.0, 4.0], &mut dx);
        assert_eq!(dx, [1.5, 4.0]);
        assert!((sigmoid(2.0) - 0.880_797).abs() < 1e-6);
        assert_eq!((sigmoid(-200.0), sigmoid(200.0)), (0.0, 1.0));
    }

    #[test]
    fn dropout_follows_the_stream_word_by_word() {
        use lfnn_core::random::Purpose;
        let stream = Stream::new(Purpose::Dropout, 3);
        let x = [1.0; 150];
        let mut y = [9.0; 150];
        dropout(&x, &mut y, 8, stream, 5, 1, 2, 1 << 31, 2.0);
        for (i, y) in y.iter().enumerate() {
            let kept = stream.at(5, 1, 2, 8 + i as u32) >= 1 << 31;
            assert_eq!(*y, if kept { 2.0 } else { 0.0 });
        }
    }
}
