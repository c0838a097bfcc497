//! The choice of leaders, what the followers align with, and the mask of a gradient.

use lfnn_core::program::{AlignmentTarget, EpochLeaders, MaskFollowers, Reference, SelectLeaders};

use super::launch::{THREADS, arguments};
use super::lowering::{Lower, Lowering};
use super::shared::shared_with_kernels;
use super::types::KernelFile;

const LEADERS: KernelFile = KernelFile("leaders");

impl Lower for SelectLeaders {
    fn lower(&self, to: &mut Lowering<'_>) {
        let classifiers = to.len(self.best);
        let arguments = arguments![
            to.address(self.losses),
            to.address(self.leaders),
            to.address(self.best),
            classifiers,
            self.predictions.workers,
            self.count,
        ];
        to.launch_1d(LEADERS, "select_leaders", to.len(self.leaders), arguments);
    }
}

impl Lower for EpochLeaders {
    fn lower(&self, to: &mut Lowering<'_>) {
        let arguments = arguments![
            to.address(self.losses),
            to.address(self.counter),
            to.address(self.epoch_losses),
            to.address(self.leaders),
            to.address(self.best),
            self.predictions.workers,
            self.count,
        ];
        let (grid, block) = ([self.predictions.classifiers as u32, 1, 1], [THREADS, 1, 1]);
        to.launch(LEADERS, "epoch_leaders", grid, block, arguments);
    }
}

shared_with_kernels! {
    constants {
        const BEST: u32 = 0;
        const RANDOM: u32 = 1;
        const MEAN: u32 = 2;
    }
    structures {
        /// What followers align with.
        struct Target {
            batch: u32,
            classifiers: u32,
            workers: u32,
            classes: u32,
            leader_rows: u32,
            rule: u32,
            stream: u32,
        }
    }
}

impl Lower for AlignmentTarget {
    fn lower(&self, to: &mut Lowering<'_>) {
        let (rule, stream) = match self.rule {
            Reference::Best => (BEST, 0),
            Reference::Random(stream) => (RANDOM, stream.word()),
            Reference::Mean => (MEAN, 0),
        };
        let target = Target {
            batch: to.tensors()[self.value].shape[0] as u32,
            classifiers: self.predictions.classifiers as u32,
            workers: self.predictions.workers as u32,
            classes: self.predictions.classes as u32,
            leader_rows: to.tensors()[self.leaders].shape[0] as u32,
            rule,
            stream,
        };
        let (value, reference) = (to.read(self.value), to.write(self.reference));
        let arguments = arguments![
            value,
            to.address(self.leaders),
            to.address(self.best),
            to.address(self.counter),
            reference,
            &target,
        ];
        to.launch_1d(LEADERS, "alignment_target", to.len(self.reference), arguments);
    }
}

impl Lower for MaskFollowers {
    fn lower(&self, to: &mut Lowering<'_>) {
        let tensors = to.tensors();
        let n = to.len(self.x);
        let row_size = n.checked_div(tensors[self.x].shape[0]).unwrap_or(0).max(1);
        let (x, y) = (to.read(self.x), to.write(self.y));
        let arguments = arguments![
            x,
            to.address(self.leaders),
            y,
            n,
            row_size,
            tensors.channels(self.x),
            tensors.channels(self.leaders),
            tensors.rows(self.leaders),
        ];
        to.launch_1d(LEADERS, "mask_followers", n / 4, arguments);
    }
}
