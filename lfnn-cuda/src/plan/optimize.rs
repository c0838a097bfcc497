//! Optimiser steps over many tensors at once, and the norm of gradients.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{AdamStep, ClipFactor, SgdStep, TensorId};

use super::Argument;
use super::fuse::{Group, MOST_TENSORS};
use super::launch::{THREADS, arguments};
use super::lower::{Lowering, optional};
use crate::kernels::OPTIMIZE;

/// Elements of a tensor that a block has.
const CHUNK: usize = 2048;

/// The table of the kernels: four rows of pointers, and which blocks each tensor has.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Table {
    pointers: [[u64; MOST_TENSORS]; 4],
    length: [u32; MOST_TENSORS],
    block: [u32; MOST_TENSORS],
    count: u32,
    unused: u32,
}

/// A tensor of a table: parameter, gradient, and the optimiser's first and second state.
type Row = [Option<TensorId>; 4];

/// The argument for these tensors, and how many blocks they have.
fn table(rows: &[Row], to: &Lowering<'_>) -> (Argument, usize) {
    let mut table = Table::zeroed();
    let mut pointers = Vec::new();
    let mut blocks = 0;
    for (i, row) in rows.iter().enumerate() {
        let length = row[1].map_or(0, |gradient| to.len(gradient));
        table.length[i] = length as u32;
        table.block[i] = blocks as u32;
        blocks += length.div_ceil(CHUNK);
        for (field, id) in row.iter().enumerate() {
            if let Some(id) = id {
                pointers.push((8 * (field * MOST_TENSORS + i), to.place(*id)));
            }
        }
    }
    table.count = rows.len() as u32;
    (Argument::of(&table, pointers), blocks)
}

/// Steps that differ in their tensors alone.
pub(super) fn sgd(ops: &[&SgdStep], to: &mut Lowering<'_>) {
    let Some(&first) = ops.first() else { return };
    let rows: Vec<Row> =
        ops.iter().map(|op| [Some(op.parameter), Some(op.gradient), op.velocity, None]).collect();
    let (table, blocks) = table(&rows, to);
    let arguments = arguments![
        table,
        to.place(first.rates),
        to.place(first.clock),
        optional(first.factor),
        to.loss_scale(first.parameter),
        to.len(first.rates),
        first.momentum as f32,
        first.nesterov,
        first.weight_decay as f32,
    ];
    launch("sgd", blocks, arguments, to);
}

/// The structure of the kernel.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Adam {
    betas: [f64; 2],
    decay: f64,
    epsilon: f32,
    decoupled: u32,
    rate_count: u32,
    unused: u32,
}

/// Steps that differ in their tensors alone.
pub(super) fn adam(ops: &[&AdamStep], to: &mut Lowering<'_>) {
    let Some(&first) = ops.first() else { return };
    let rows: Vec<Row> =
        ops.iter().map(|op| [op.parameter, op.gradient, op.first, op.second].map(Some)).collect();
    let (table, blocks) = table(&rows, to);
    let adam = Adam {
        betas: first.betas,
        decay: first.weight_decay,
        epsilon: first.epsilon as f32,
        decoupled: u32::from(first.decoupled),
        rate_count: to.len(first.rates) as u32,
        unused: 0,
    };
    let arguments = arguments![
        table,
        to.place(first.rates),
        to.place(first.clock),
        optional(first.factor),
        to.loss_scale(first.parameter),
        Argument::of(&adam, Vec::new()),
    ];
    launch("adam", blocks, arguments, to);
}

/// Steps on gradients of one scaled loss: not done if any of these is not finite, after which the scale moves.
pub(super) fn scaled(groups: &[Group<'_>], to: &mut Lowering<'_>) {
    let mut rows: Vec<Row> = Vec::new();
    for group in groups {
        match group {
            Group::Sgd(ops) => {
                rows.extend(ops.iter().map(|op| [None, Some(op.gradient), None, None]));
            }
            Group::Adam(ops) => {
                rows.extend(ops.iter().map(|op| [None, Some(op.gradient), None, None]));
            }
            _ => {}
        }
    }
    let Some((parameter, clock, rates)) = groups.first().and_then(Group::schedule) else { return };
    let scale = to.loss_scale(parameter);
    for rows in rows.chunks(MOST_TENSORS) {
        let (table, blocks) = table(rows, to);
        launch("watch_overflow", blocks, arguments![table, scale.clone()], to);
    }
    for group in groups {
        match group {
            Group::Sgd(ops) => sgd(ops, to),
            Group::Adam(ops) => adam(ops, to),
            _ => {}
        }
    }
    let arguments = arguments![scale, to.place(clock), to.len(rates)];
    to.launch(OPTIMIZE.launch("move_loss_scale", to.real(), [1; 3], [1; 3], arguments));
}

/// Launches as many blocks as a table has.
fn launch(kernel: &'static str, blocks: usize, arguments: Vec<Argument>, to: &mut Lowering<'_>) {
    if blocks > 0 {
        let (grid, block) = ([blocks as u32, 1, 1], [THREADS, 1, 1]);
        to.launch(OPTIMIZE.launch(kernel, to.real(), grid, block, arguments));
    }
}

/// Sums of squares of blocks, then their sum.
pub(super) fn clip(op: &ClipFactor, to: &mut Lowering<'_>) {
    let blocks: usize = op.gradients.iter().map(|&id| to.len(id).div_ceil(CHUNK)).sum();
    let parts = to.scratch(blocks * size_of::<f64>());
    let mut done = 0;
    for gradients in op.gradients.chunks(MOST_TENSORS) {
        let rows: Vec<Row> = gradients.iter().map(|&id| [None, Some(id), None, None]).collect();
        let (table, blocks) = table(&rows, to);
        launch("squares", blocks, arguments![table, parts.beyond(done * size_of::<f64>())], to);
        done += blocks;
    }
    let scale = to.loss_scale(op.factor);
    let arguments = arguments![parts, to.place(op.factor), scale, blocks, op.max_norm as f32];
    let block = [THREADS, 1, 1];
    to.launch(OPTIMIZE.launch("clip_factor", to.real(), [1; 3], block, arguments));
}
