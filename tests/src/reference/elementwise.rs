//! Operations that treat every element, or every channel, alike.

use super::Execute;
use super::store::Store;
use lfnn_core::program::{
    Activate, ActivateGrad, Activation, Add, AddBias, BiasGrad, Dropout, ScaleGrad, step_counter,
};

/// `y = f(x)`.
impl Execute for Activate {
    fn execute(&self, s: &mut Store) {
        let f = |x: f64| match self.function {
            Activation::Relu => {
                // A NaN stays one, so that the watch for errors that are not finite sees it.
                if x <= 0.0 { 0.0 } else { x }
            }
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
        };
        let y = s.real(self.x).iter().map(|&x| f(x)).collect();
        s.set_real(self.y, y);
    }
}

/// `dx = f′ dy`, with f′ as a function of the output: `[y > 0]`, `y (1 − y)`, `1 − y²`.
impl Execute for ActivateGrad {
    fn execute(&self, s: &mut Store) {
        let slope = |y: f64| match self.function {
            Activation::Relu => f64::from(y > 0.0),
            Activation::Sigmoid => y * (1.0 - y),
            Activation::Tanh => 1.0 - y * y,
        };
        let dx =
            s.real(self.y).iter().zip(s.real(self.dy)).map(|(&y, &dy)| slope(y) * dy).collect();
        s.set_real(self.dx, dx);
    }
}

/// Keeps element i where word i of the stream is at least `rate · 2³²`, and scales what is kept.
impl Execute for Dropout {
    fn execute(&self, s: &mut Store) {
        let counter = s.whole(self.counter);
        let threshold = (self.rate * 4_294_967_296.0).floor() as u64;
        let y = s
            .real(self.x)
            .iter()
            .enumerate()
            .map(|(i, &x)| {
                let word = self.stream.at(
                    step_counter::seed(counter),
                    counter[step_counter::EPOCH],
                    counter[step_counter::STEP],
                    u32::try_from(i).unwrap(),
                );
                if u64::from(word) >= threshold { x / (1.0 - self.rate) } else { 0.0 }
            })
            .collect();
        s.set_real(self.y, y);
    }
}

/// The sum of the inputs.
impl Execute for Add {
    fn execute(&self, s: &mut Store) {
        let y = (0..s.len(self.y))
            .map(|i| self.inputs.iter().map(|&input| s.real(input)[i]).sum())
            .collect();
        s.set_real(self.y, y);
    }
}

/// `y[…, c] = x[…, c] + bias[c]`.
impl Execute for AddBias {
    fn execute(&self, s: &mut Store) {
        let channels = s.channels(self.x);
        let bias = s.real(self.bias);
        let y = s.real(self.x).iter().enumerate().map(|(i, &x)| x + bias[i % channels]).collect();
        s.set_real(self.y, y);
    }
}

/// `dbias[c] = Σ dy[…, c]`.
impl Execute for BiasGrad {
    fn execute(&self, s: &mut Store) {
        let channels = s.channels(self.dy);
        let mut dbias = vec![0.0; channels];
        for (i, &dy) in s.real(self.dy).iter().enumerate() {
            dbias[i % channels] += dy;
        }
        s.set_real(self.dbias, dbias);
    }
}

/// `dscale[c] = Σ dy[…, c] x[…, c]`.
impl Execute for ScaleGrad {
    fn execute(&self, s: &mut Store) {
        let channels = s.channels(self.x);
        let mut dscale = vec![0.0; channels];
        for (i, (&x, &dy)) in s.real(self.x).iter().zip(s.real(self.dy)).enumerate() {
            dscale[i % channels] += x * dy;
        }
        s.set_real(self.dscale, dscale);
    }
}
