//! Operations that treat every element, or every channel, alike.

use super::store::Store;
use lfnn_core::program::{
    Activate, ActivateGrad, Activation, Add, AddBias, BiasGrad, Dropout, clock,
};

/// `y = f(x)`.
pub(super) fn activate(op: &Activate, s: &mut Store) {
    let f = |x: f64| match op.function {
        Activation::Relu => {
            // A NaN stays one, so that the watch for errors that are not finite sees it.
            if x <= 0.0 { 0.0 } else { x }
        }
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
    };
    let y = s.real(op.x).iter().map(|&x| f(x)).collect();
    s.set_real(op.y, y);
}

/// `dx = f′ dy`, with f′ as a function of the output: `[y > 0]`, `y (1 − y)`, `1 − y²`.
pub(super) fn activate_grad(op: &ActivateGrad, s: &mut Store) {
    let slope = |y: f64| match op.function {
        Activation::Relu => f64::from(y > 0.0),
        Activation::Sigmoid => y * (1.0 - y),
        Activation::Tanh => 1.0 - y * y,
    };
    let dx = s.real(op.y).iter().zip(s.real(op.dy)).map(|(&y, &dy)| slope(y) * dy).collect();
    s.set_real(op.dx, dx);
}

/// Keeps element i where word i of the stream is at least `rate · 2³²`, and scales what is kept.
pub(super) fn dropout(op: &Dropout, s: &mut Store) {
    let clock = s.whole(op.clock);
    let threshold = (op.rate * 4_294_967_296.0).floor() as u64;
    let y = s
        .real(op.x)
        .iter()
        .enumerate()
        .map(|(i, &x)| {
            let word = op.stream.at(
                clock::seed(clock),
                clock[clock::EPOCH],
                clock[clock::STEP],
                u32::try_from(i).unwrap(),
            );
            if u64::from(word) >= threshold { x / (1.0 - op.rate) } else { 0.0 }
        })
        .collect();
    s.set_real(op.y, y);
}

/// The sum of the inputs.
pub(super) fn add(op: &Add, s: &mut Store) {
    let y =
        (0..s.len(op.y)).map(|i| op.inputs.iter().map(|&input| s.real(input)[i]).sum()).collect();
    s.set_real(op.y, y);
}

/// `y[…, c] = x[…, c] + bias[c]`.
pub(super) fn add_bias(op: &AddBias, s: &mut Store) {
    let channels = s.channels(op.x);
    let bias = s.real(op.bias);
    let y = s.real(op.x).iter().enumerate().map(|(i, &x)| x + bias[i % channels]).collect();
    s.set_real(op.y, y);
}

/// `dbias[c] = Σ dy[…, c]`.
pub(super) fn bias_grad(op: &BiasGrad, s: &mut Store) {
    let channels = s.channels(op.dy);
    let mut dbias = vec![0.0; channels];
    for (i, &dy) in s.real(op.dy).iter().enumerate() {
        dbias[i % channels] += dy;
    }
    s.set_real(op.dbias, dbias);
}
