//! Layers without parameters.

use lfnn_core::program::{
    Activate, ActivateGrad, Activation, AdaptiveAvgPool, AdaptiveAvgPoolGrad, Add, AvgPool,
    AvgPoolGrad, Concat, DType, Dropout, MaxPool, MaxPoolGrad, MaxPoolTangent, Softmax,
    SoftmaxGrad, Split, SwapAxes, Window,
};
use lfnn_core::random::{Purpose, Stream};

use super::{Chain, Kinks, signal};
use crate::harness::Case;

impl Chain {
    fn function(&self, case: &mut Case) -> Activation {
        let smooth = [Activation::Sigmoid, Activation::Tanh];
        match self.kinks {
            Kinks::None => case.source.pick(&smooth),
            Kinks::Allowed => case.source.pick(&[Activation::Relu, smooth[0], smooth[1]]),
        }
    }

    pub(super) fn activation(&mut self, case: &mut Case) {
        let x = self.output;
        let y = signal(case, &case.shape(x.value));
        let function = self.function(case);
        let slope = |dy, dx| ActivateGrad { y: y.value, dy, dx, function };
        self.push(
            y,
            [Activate { x: x.value, y: y.value, function }.into()],
            [slope(x.tangent, y.tangent).into()],
            [slope(y.gradient, x.gradient).into()],
        );
    }

    /// `y = x + f(x)`.
    pub(super) fn residual(&mut self, case: &mut Case) {
        let x = self.output;
        let shape = case.shape(x.value);
        let (inner, y) = (signal(case, &shape), signal(case, &shape));
        let function = self.function(case);
        let slope = |dy, dx| ActivateGrad { y: inner.value, dy, dx, function };
        let sum = |a, b, y| Add { inputs: vec![a, b], y };
        self.push(
            y,
            [
                Activate { x: x.value, y: inner.value, function }.into(),
                sum(x.value, inner.value, y.value).into(),
            ],
            [
                slope(x.tangent, inner.tangent).into(),
                sum(x.tangent, inner.tangent, y.tangent).into(),
            ],
            [
                slope(y.gradient, inner.gradient).into(),
                sum(y.gradient, inner.gradient, x.gradient).into(),
            ],
        );
    }

    /// Splits the channels, puts one part through a function, and joins the parts in the other order.
    pub(super) fn halves(&mut self, case: &mut Case) {
        let x = self.output;
        let shape = case.shape(x.value);
        let channels = shape[shape.len() - 1];
        if channels < 2 {
            return self.activation(case);
        }
        let first = 1 + case.source.index(channels - 1);
        let with_last = |last| [&shape[..shape.len() - 1], &[last]].concat();
        let a = signal(case, &with_last(first));
        let b = signal(case, &with_last(channels - first));
        let (inner, y) = (signal(case, &with_last(first)), signal(case, &shape));
        let function = self.function(case);
        let slope = |dy, dx| ActivateGrad { y: inner.value, dy, dx, function };
        self.push(
            y,
            [
                Split { x: x.value, outputs: vec![a.value, b.value] }.into(),
                Activate { x: a.value, y: inner.value, function }.into(),
                Concat { inputs: vec![b.value, inner.value], y: y.value }.into(),
            ],
            [
                Split { x: x.tangent, outputs: vec![a.tangent, b.tangent] }.into(),
                slope(a.tangent, inner.tangent).into(),
                Concat { inputs: vec![b.tangent, inner.tangent], y: y.tangent }.into(),
            ],
            [
                Split { x: y.gradient, outputs: vec![b.gradient, inner.gradient] }.into(),
                slope(inner.gradient, a.gradient).into(),
                Concat { inputs: vec![a.gradient, b.gradient], y: x.gradient }.into(),
            ],
        );
    }

    pub(super) fn dropout(&mut self, case: &mut Case) {
        let x = self.output;
        let y = signal(case, &case.shape(x.value));
        let counter = self.counter;
        let rate = case.source.pick(&[0.2, 0.5]);
        let stream = Stream::new(Purpose::Dropout, self.forward.len() as u32);
        let drop = |x, y| Dropout { x, counter, y, rate, stream };
        self.push(
            y,
            [drop(x.value, y.value).into()],
            [drop(x.tangent, y.tangent).into()],
            [drop(y.gradient, x.gradient).into()],
        );
    }

    pub(super) fn softmax(&mut self, case: &mut Case) {
        let x = self.output;
        let shape = case.shape(x.value);
        let widths: Vec<usize> = (1..=shape[1]).filter(|&n| shape[1].is_multiple_of(n)).collect();
        let width = case.source.pick(&widths);
        let y = signal(case, &shape);
        let jacobian = |dy, dx| SoftmaxGrad { y: y.value, dy, dx, width };
        self.push(
            y,
            [Softmax { x: x.value, y: y.value, width }.into()],
            [jacobian(x.tangent, y.tangent).into()],
            [jacobian(y.gradient, x.gradient).into()],
        );
    }

    pub(super) fn flatten(&mut self, case: &mut Case) {
        let x = self.output;
        let image = case.shape(x.value);
        let y = signal(case, &[image[0], image[1..].iter().product()]);
        let flatten = |x, y| SwapAxes::channels_first(x, y, &image);
        let forward = flatten(x.value, y.value);
        let backward = forward.inverse(y.gradient, x.gradient);
        self.push(y, [forward.into()], [flatten(x.tangent, y.tangent).into()], [backward.into()]);
    }

    /// A window that fits the image, and the shape of the result.
    fn pooling(&self, case: &mut Case) -> (Window, [usize; 4]) {
        let [batch, height, width, channels] = case.shape(self.output.value).try_into().unwrap();
        let window = case.source.window([height, width], &[2, 3], &[1, 2], |kernel| kernel / 2);
        let [rows, columns] = window.output([height, width]).unwrap();
        (window, [batch, rows, columns, channels])
    }

    pub(super) fn max_pool(&mut self, case: &mut Case) {
        let x = self.output;
        let (window, result) = self.pooling(case);
        let y = signal(case, &result);
        let position = case.temporary("position", DType::U8, &result);
        let (dx, dy) = (x.tangent, y.tangent);
        self.push(
            y,
            [MaxPool { x: x.value, y: y.value, position: Some(position), window }.into()],
            [MaxPoolTangent { dx, position, dy, window }.into()],
            [MaxPoolGrad { dy: y.gradient, position, dx: x.gradient, window }.into()],
        );
    }

    pub(super) fn average_pool(&mut self, case: &mut Case) {
        let x = self.output;
        let (window, result) = self.pooling(case);
        let y = signal(case, &result);
        self.push(
            y,
            [AvgPool { x: x.value, y: y.value, window }.into()],
            [AvgPool { x: x.tangent, y: y.tangent, window }.into()],
            [AvgPoolGrad { dy: y.gradient, dx: x.gradient, window }.into()],
        );
    }

    pub(super) fn adaptive_pool(&mut self, case: &mut Case) {
        let x = self.output;
        let [batch, height, width, channels] = case.shape(x.value).try_into().unwrap();
        let grid = [batch, 1 + case.source.index(height), 1 + case.source.index(width), channels];
        let y = signal(case, &grid);
        self.push(
            y,
            [AdaptiveAvgPool { x: x.value, y: y.value }.into()],
            [AdaptiveAvgPool { x: x.tangent, y: y.tangent }.into()],
            [AdaptiveAvgPoolGrad { dy: y.gradient, dx: x.gradient }.into()],
        );
    }
}
