//! Operations on each element alone.

use lfnn_core::program::{Activate, ActivateGrad, Activation, Add, Dropout};

use super::launch::arguments;
use super::lowering::{Lower, Lowering};
use super::shared::{Act, Input, shared_with_kernels};
use super::types::KernelFile;

const ELEMENTWISE: KernelFile = KernelFile("elementwise");

shared_with_kernels! {
    constants {
        const RELU: u32 = 0;
        const SIGMOID: u32 = 1;
        const TANH: u32 = 2;
        /// Summands of one launch.
        const MOST_SUMMANDS: usize = 8;
    }
    structures {
        /// What is added.
        struct Summands {
            x: [Input<Act>; MOST_SUMMANDS],
            count: u32,
        }
    }
}

/// The number of a function in the kernels.
fn code(function: Activation) -> u32 {
    match function {
        Activation::Relu => RELU,
        Activation::Sigmoid => SIGMOID,
        Activation::Tanh => TANH,
    }
}

impl Lower for Activate {
    fn lower(&self, to: &mut Lowering<'_>) {
        let n = to.len(self.x);
        let arguments = arguments![to.read(self.x), to.write(self.y), n, code(self.function)];
        to.launch_1d(ELEMENTWISE, "activate", n / 4, arguments);
    }
}

impl Lower for ActivateGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let n = to.len(self.y);
        let (y, dy) = (to.read(self.y), to.read(self.dy));
        let arguments = arguments![y, dy, to.write(self.dx), n, code(self.function)];
        to.launch_1d(ELEMENTWISE, "activate_grad", n / 4, arguments);
    }
}

impl Lower for Dropout {
    fn lower(&self, to: &mut Lowering<'_>) {
        let n = to.len(self.x);
        let threshold = (self.rate * 4_294_967_296.0) as u32;
        let factor = (1.0 / (1.0 - self.rate)) as f32;
        let (x, y) = (to.read(self.x), to.write(self.y));
        let arguments =
            arguments![x, to.address(self.counter), y, n, threshold, factor, self.stream.word()];
        to.launch_1d(ELEMENTWISE, "dropout", n.div_ceil(4), arguments);
    }
}

/// Further summands are added to the sum of those before them.
impl Lower for Add {
    fn lower(&self, to: &mut Lowering<'_>) {
        let n = to.len(self.y);
        let y = to.write(self.y);
        let mut rest: Vec<_> = self.inputs.iter().map(|&input| to.read(input)).collect();
        rest.reverse();
        while !rest.is_empty() {
            let mut summands = Summands::default();
            for place in &mut summands.x {
                let Some(x) = rest.pop() else { break };
                *place = x.into();
                summands.count += 1;
            }
            let arguments = arguments![&summands, y, n];
            to.launch_1d(ELEMENTWISE, "add", n / 4, arguments);
            if !rest.is_empty() {
                rest.push(y);
            }
        }
    }
}
