//! Optimiser steps over many tensors at once, and the norm of gradients.

use lfnn_core::program::{AdamStep, ClipFactor, Op, SgdStep, TensorId};

use super::launch::{THREADS, arguments};
use super::lowering::{Lower, Lowering};
use super::shared::{Input, Output, shared_with_kernels};
use super::types::{Argument, KernelFile};

const OPTIMIZE: KernelFile = KernelFile("optimize");

shared_with_kernels! {
    constants {
        /// Elements of a tensor that a block has.
        const CHUNK: usize = 2048;
        /// Most tensors of one launch: the table of their addresses is passed by value.
        pub(super) const MOST_TENSORS: usize = 32;
    }
    structures {
        /// Tensors, and which blocks each of them has.
        struct Table {
            parameter: [Output<f32>; MOST_TENSORS],
            gradient: [Input<f32>; MOST_TENSORS],
            /// The optimiser's state.
            first: [Output<f32>; MOST_TENSORS],
            second: [Output<f32>; MOST_TENSORS],
            length: [u32; MOST_TENSORS],
            /// The first block of each tensor.
            block: [u32; MOST_TENSORS],
            count: u32,
        }
        /// The settings of Adam.
        struct Adam {
            first_beta: f64,
            second_beta: f64,
            decay: f64,
            epsilon: f32,
            decoupled: u32,
            rate_count: u32,
        }
    }
}

/// A tensor of a table: parameter, gradient, and the optimiser's first and second state.
type Row = [Option<TensorId>; 4];

fn sgd_row(op: &SgdStep) -> Row {
    [Some(op.parameter), Some(op.gradient), op.velocity, None]
}

fn adam_row(op: &AdamStep) -> Row {
    [op.parameter, op.gradient, op.first, op.second].map(Some)
}

fn gradient_row(gradient: TensorId) -> Row {
    [None, Some(gradient), None, None]
}

impl Table {
    /// The table of these tensors, and how many blocks they have.
    fn new(rows: &[Row], to: &Lowering<'_>) -> (Self, usize) {
        let mut table = Self { count: rows.len() as u32, ..Self::default() };
        let mut blocks = 0;
        for (i, &[parameter, gradient, first, second]) in rows.iter().enumerate() {
            let length = gradient.map_or(0, |gradient| to.len(gradient));
            table.parameter[i] = to.optional(parameter).into();
            table.gradient[i] = to.optional(gradient).into();
            table.first[i] = to.optional(first).into();
            table.second[i] = to.optional(second).into();
            table.length[i] = length as u32;
            table.block[i] = blocks as u32;
            blocks += length.div_ceil(CHUNK);
        }
        (table, blocks)
    }
}

/// Steps like the first one, on the tensors of these rows.
fn sgd(first: &SgdStep, rows: &[Row], to: &mut Lowering<'_>) {
    let (table, blocks) = Table::new(rows, to);
    let arguments = arguments![
        &table,
        to.address(first.rates),
        to.address(first.counter),
        to.optional(first.factor),
        &to.loss_scale(first.parameter),
        to.len(first.rates),
        first.momentum as f32,
        first.nesterov,
        first.weight_decay as f32,
    ];
    launch("sgd", blocks, arguments, to);
}

impl Lower for SgdStep {
    fn lower(&self, to: &mut Lowering<'_>) {
        sgd(self, &[sgd_row(self)], to);
    }
}

/// Steps like the first one, on the tensors of these rows.
fn adam(first: &AdamStep, rows: &[Row], to: &mut Lowering<'_>) {
    let (table, blocks) = Table::new(rows, to);
    let adam = Adam {
        first_beta: first.betas[0],
        second_beta: first.betas[1],
        decay: first.weight_decay,
        epsilon: first.epsilon as f32,
        decoupled: u32::from(first.decoupled),
        rate_count: to.len(first.rates) as u32,
    };
    let arguments = arguments![
        &table,
        to.address(first.rates),
        to.address(first.counter),
        to.optional(first.factor),
        &to.loss_scale(first.parameter),
        &adam,
    ];
    launch("adam", blocks, arguments, to);
}

impl Lower for AdamStep {
    fn lower(&self, to: &mut Lowering<'_>) {
        adam(self, &[adam_row(self)], to);
    }
}

/// Steps that differ in their tensors alone, [`MOST_TENSORS`] at most.
pub(super) fn steps(ops: &[&Op], to: &mut Lowering<'_>) {
    let rows: Vec<Row> = ops.iter().filter_map(|op| Some(step(op)?.0)).collect();
    match ops.first() {
        Some(Op::SgdStep(first)) => sgd(first, &rows, to),
        Some(Op::AdamStep(first)) => adam(first, &rows, to),
        _ => {}
    }
}

/// The tensors of an optimiser's step, its step counter and its learning rates.
fn step(op: &Op) -> Option<(Row, TensorId, TensorId)> {
    match op {
        Op::SgdStep(op) => Some((sgd_row(op), op.counter, op.rates)),
        Op::AdamStep(op) => Some((adam_row(op), op.counter, op.rates)),
        _ => None,
    }
}

/// Steps on gradients of one scaled loss: not done if any of these is not finite, after which the scale moves.
pub(super) fn scaled(groups: &[Vec<&Op>], to: &mut Lowering<'_>) {
    let all: Vec<_> = groups.iter().flatten().filter_map(|op| step(op)).collect();
    let Some(&([Some(parameter), ..], counter, rates)) = all.first() else { return };
    let gradients: Vec<Row> =
        all.iter().filter_map(|([_, gradient, ..], ..)| Some(gradient_row((*gradient)?))).collect();
    let scale = to.loss_scale(parameter);
    for rows in gradients.chunks(MOST_TENSORS) {
        let (table, blocks) = Table::new(rows, to);
        launch("watch_overflow", blocks, arguments![&table, &scale], to);
    }
    for group in groups {
        steps(group, to);
    }
    let arguments = arguments![&scale, to.address(counter), to.len(rates)];
    to.launch(OPTIMIZE, "move_loss_scale", [1; 3], [1; 3], arguments);
}

/// Launches as many blocks as a table has.
fn launch(kernel: &'static str, blocks: usize, arguments: Vec<Argument>, to: &mut Lowering<'_>) {
    if blocks > 0 {
        to.launch(OPTIMIZE, kernel, [blocks as u32, 1, 1], [THREADS, 1, 1], arguments);
    }
}

/// Sums of squares of blocks, then their sum.
impl Lower for ClipFactor {
    fn lower(&self, to: &mut Lowering<'_>) {
        let blocks: usize = self.gradients.iter().map(|&id| to.len(id).div_ceil(CHUNK)).sum();
        let parts = to.scratch(blocks * size_of::<f64>());
        let mut done = 0;
        let rows: Vec<Row> = self.gradients.iter().map(|&id| gradient_row(id)).collect();
        for rows in rows.chunks(MOST_TENSORS) {
            let (table, blocks) = Table::new(rows, to);
            launch("squares", blocks, arguments![&table, parts.plus(done * size_of::<f64>())], to);
            done += blocks;
        }
        let (factor, scale) = (to.address(self.factor), to.loss_scale(self.factor));
        let arguments = arguments![parts, factor, &scale, blocks, self.max_norm as f32];
        to.launch(OPTIMIZE, "clip_factor", [1; 3], [THREADS, 1, 1], arguments);
    }
}
