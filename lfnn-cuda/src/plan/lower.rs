//! From a program set to a plan.

use lfnn_core::backend::Precision;
use lfnn_core::program::{
    ALIGNMENT, DType, Node, Op, Program, ProgramSet, TensorId, Tensors, plan_memory_in,
};
use thiserror::Error;

use super::fuse::{Group, fuse};
use super::launch::arguments;
use super::roles::{activation, elements};
use super::scale::{LOSS_SCALE_BYTES, Scales, Scaling};
use super::schedule::Schedule;
use super::{
    Argument, Element, Launch, Place, Plan, Product, ProgramPlan, Step, Work, columns, conv, data,
    elementwise, leaders, linear, losses, metrics, norm, optimize, perturb, pool, shape, unit,
    workers,
};
use crate::kernels::ELEMENTWISE;

/// Kernels count elements in 32 bits, with room for a stride over the grid.
const MOST_ELEMENTS: usize = 1 << 31;

/// Lanes of a plan: a unit's update runs beside the next unit's forward pass.
pub const STREAMS: usize = 2;

/// The most streams of a plan: each is a stream with scratch memory of its own, and no network has work for more.
pub const MAX_STREAMS: usize = 64;

/// A program set that has no plan.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// A tensor that kernels cannot address.
    #[error("tensor `{name}` has {elements} elements; the CUDA backend takes fewer than 2^31")]
    TooLarge {
        /// The tensor.
        name: String,
        /// Its elements.
        elements: usize,
    },
}

impl Plan {
    /// Lowers every program of a program set, for [`STREAMS`] streams.
    ///
    /// # Errors
    /// A tensor that is too large for the kernels.
    pub fn new(set: &ProgramSet, precision: Precision) -> Result<Self, PlanError> {
        Self::with_streams(set, precision, STREAMS)
    }

    /// Lowers every program of a program set, for this many streams: one at least, and no more than [`MAX_STREAMS`].
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn with_streams(
        set: &ProgramSet,
        precision: Precision,
        streams: usize,
    ) -> Result<Self, PlanError> {
        Self::lower(set, precision, streams.clamp(1, MAX_STREAMS), false)
    }

    /// As [`Plan::new`], but every operation works in the type of activations, even where all of its
    /// operands are singles, which are then converted: for tests of single operations.
    ///
    /// # Errors
    /// As [`Plan::new`].
    #[cfg(feature = "emulator")]
    pub fn all_narrow(set: &ProgramSet, precision: Precision) -> Result<Self, PlanError> {
        Self::lower(set, precision, STREAMS, true)
    }

    fn lower(
        set: &ProgramSet,
        precision: Precision,
        streams: usize,
        all_narrow: bool,
    ) -> Result<Self, PlanError> {
        let tensors = set.tensors();
        for (_, tensor) in tensors.iter() {
            // Bytes are only ever gathered: their kernels count in 64 bits.
            if tensor.dtype != DType::U8 && tensor.len() >= MOST_ELEMENTS {
                let (name, elements) = (tensor.name.clone(), tensor.len());
                return Err(PlanError::TooLarge { name, elements });
            }
        }
        let elements = elements(set, precision);
        let mut persistent_bytes = 0;
        let persistent = tensors
            .iter()
            .map(|(id, tensor)| {
                let bytes = tensor.len() * elements[id.index()].bytes();
                tensor.is_persistent().then(|| {
                    let offset = persistent_bytes;
                    persistent_bytes += bytes.next_multiple_of(ALIGNMENT);
                    offset
                })
            })
            .collect();
        let loss_scales = persistent_bytes;
        let mut programs = Vec::with_capacity(set.programs().len());
        for program in set.programs() {
            let first = (persistent_bytes - loss_scales) / LOSS_SCALE_BYTES;
            let scales = match precision {
                Precision::F16 => Scales::new(tensors, program.ops(), first),
                _ => Scales::default(),
            };
            persistent_bytes += scales.len() * LOSS_SCALE_BYTES;
            let kinds = (precision, all_narrow);
            programs.push(lower(program, tensors, &elements, kinds, streams, &scales));
        }
        Ok(Self { precision, elements, persistent, persistent_bytes, loss_scales, programs })
    }
}

fn lower(
    program: &Program,
    tensors: &Tensors,
    elements: &[Element],
    (precision, all_narrow): (Precision, bool),
    streams: usize,
    scales: &Scales,
) -> ProgramPlan {
    let ops = scales.gather(program.ops());
    let groups = fuse(tensors, &ops, scales);
    let nodes: Vec<Node> = groups.iter().map(Group::node).collect();
    let schedule = Schedule::new(&nodes, tensors, streams);
    let bytes = |id: TensorId| tensors[id].len() * elements[id.index()].bytes();
    let lifetimes = plan_memory_in(tensors, &nodes, &schedule, bytes);
    let mut to = Lowering::new(tensors, elements, precision, scales);
    let mut first = Vec::with_capacity(groups.len());
    let mut unseen: Vec<Option<&Op>> = program.ops().iter().map(Some).collect();
    for group in &groups {
        first.push(to.steps.len());
        to.ops = positions(group, &mut unseen);
        let real = if all_narrow { activation(precision) } else { group.real(elements) };
        to.begin(group.name(), real);
        match group {
            Group::Single(op) => single(op, &mut to),
            Group::Norm(of) => norm::train(of.norm, of.conv, of.behind.as_ref(), &mut to),
            Group::Inference(of) => norm::inference(of.norm, Some(&of.behind), &mut to),
            Group::NormGrad(of) => norm::grad(of.norm, Some(of), &mut to),
            Group::Sgd(ops) => optimize::sgd(ops, &mut to),
            Group::Adam(ops) => optimize::adam(ops, &mut to),
            Group::Scaled(groups) => optimize::scaled(groups, &mut to),
            Group::Unit(ops) => {
                let begin = to.steps.len();
                to.one_block = true;
                for op in ops {
                    // Each ends before the next begins, which may read what it wrote.
                    to.begin(group.name(), real);
                    single(op, &mut to);
                    to.end();
                }
                to.one_block = false;
                unit::join(&mut to.steps, begin, real);
            }
        }
        to.end();
    }
    schedule.assign(&first, &mut to.steps);
    ProgramPlan {
        name: program.name().into(),
        steps: to.steps,
        temporaries: lifetimes.offsets,
        temporary_bytes: lifetimes.bytes,
        scratch_bytes: to.scratch_bytes,
        streams: schedule.streams,
    }
}

/// Where the operations of a group stand in the program. Equal ones are taken in order.
fn positions(group: &Group<'_>, unseen: &mut [Option<&Op>]) -> Vec<usize> {
    let mut found = Vec::new();
    for op in group.operations() {
        let position = unseen.iter().position(|other| *other == Some(&op));
        found.extend(position);
        if let Some(position) = position {
            unseen[position] = None;
        }
    }
    found
}

fn single(op: &Op, to: &mut Lowering<'_>) {
    match op {
        Op::LoadImages(op) => data::images(op, to),
        Op::LoadLabels(op) => data::labels(op, to),
        Op::LoadValues(op) => data::values(op, to),
        Op::AdvanceClock(op) => metrics::advance(op, to),
        Op::Linear(op) => linear::forward(op, to),
        Op::LinearInputGrad(op) => linear::input_grad(op, to),
        Op::LinearWeightGrad(op) => linear::weight_grad(op, to),
        Op::Conv2d(op) => conv::forward(op, to),
        Op::Conv2dInputGrad(op) => conv::input_grad(op, to),
        Op::Conv2dWeightGrad(op) => conv::weight_grad(op, to),
        Op::AddBias(op) => columns::add_bias(op, to),
        Op::BiasGrad(op) => columns::bias_grad(op, to),
        Op::Activate(op) => elementwise::activate(op, to),
        Op::ActivateGrad(op) => elementwise::activate_grad(op, to),
        Op::Dropout(op) => elementwise::dropout(op, to),
        Op::Add(op) => elementwise::add(op, to),
        Op::Softmax(op) => workers::softmax(op, to),
        Op::SoftmaxGrad(op) => workers::softmax_grad(op, to),
        Op::MaxPool(op) => pool::max(op, to),
        Op::MaxPoolGrad(op) => pool::max_grad(op, to),
        Op::MaxPoolTangent(op) => pool::max_tangent(op, to),
        Op::AvgPool(op) => pool::average(op, to),
        Op::AvgPoolGrad(op) => pool::average_grad(op, to),
        Op::AdaptiveAvgPool(op) => pool::adaptive(op, to),
        Op::AdaptiveAvgPoolGrad(op) => pool::adaptive_grad(op, to),
        Op::BatchNorm(op) => norm::train(op, None, None, to),
        Op::BatchNormInference(op) => norm::inference(op, None, to),
        Op::BatchNormGrad(op) => norm::grad(op, None, to),
        Op::BatchNormTangent(op) => norm::tangent(op, to),
        Op::Flatten(op) => shape::flatten(op, to),
        Op::Unflatten(op) => shape::unflatten(op, to),
        Op::Concat(op) => shape::concat(op, to),
        Op::Split(op) => shape::split(op, to),
        Op::FilterLogits(op) => workers::filter_logits(op, to),
        Op::FilterLogitsGrad(op) => workers::filter_logits_grad(op, to),
        Op::WorkerLoss(op) => losses::worker_loss(op, to),
        Op::MeanWorkerLoss(op) => losses::mean_worker_loss(op, to),
        Op::SelectLeaders(op) => leaders::select(op, to),
        Op::EpochLeaders(op) => leaders::epoch(op, to),
        Op::AlignmentTarget(op) => leaders::alignment_target(op, to),
        Op::LossGradient(op) => losses::loss_gradient(op, to),
        Op::LocalLossGradient(op) => losses::local_loss_gradient(op, to),
        Op::LocalLosses(op) => losses::local_losses(op, to),
        Op::MaskFollowers(op) => leaders::mask(op, to),
        Op::Gaussian(op) => perturb::gaussian(op, to),
        Op::InnerProduct(op) => perturb::inner_product(op, to),
        Op::AccumulateRows(op) => metrics::accumulate(op, to),
        Op::CountErrors(op) => metrics::count(op, to),
        Op::ClipFactor(op) => optimize::clip(op, to),
        Op::SgdStep(op) => optimize::sgd(&[op], to),
        Op::AdamStep(op) => optimize::adam(&[op], to),
    }
}

/// A program under lowering: families of operations append their steps.
pub(super) struct Lowering<'a> {
    tensors: &'a Tensors,
    elements: &'a [Element],
    precision: Precision,
    scales: &'a Scales,
    steps: Vec<Step>,
    /// The operation that is being lowered.
    name: &'static str,
    /// Positions of what is being lowered in the program.
    ops: Vec<usize>,
    /// What stands for `real` in its kernels.
    real: Element,
    /// Whether it is to be done by one block, if that does not matter otherwise.
    one_block: bool,
    /// Scratch memory that it has taken.
    scratch: usize,
    scratch_bytes: usize,
    /// What its results must be converted to when it is done.
    results: Vec<(Place, TensorId)>,
}

impl<'a> Lowering<'a> {
    fn new(
        tensors: &'a Tensors,
        elements: &'a [Element],
        precision: Precision,
        scales: &'a Scales,
    ) -> Self {
        Self {
            tensors,
            elements,
            precision,
            scales,
            steps: Vec::new(),
            name: "",
            ops: Vec::new(),
            real: Element::F32,
            one_block: false,
            scratch: 0,
            scratch_bytes: 0,
            results: Vec::new(),
        }
    }

    fn begin(&mut self, name: &'static str, real: Element) {
        (self.name, self.real, self.scratch) = (name, real, 0);
    }

    fn end(&mut self) {
        for (place, id) in std::mem::take(&mut self.results) {
            let n = self.tensors[id].len();
            let arguments = arguments![place, Place::Tensor(id, 0), n];
            self.launch(ELEMENTWISE.over("cast_to_float", self.real, n, arguments));
        }
    }

    /// The tensors of the program set.
    pub(super) fn tensors(&self) -> &'a Tensors {
        self.tensors
    }

    /// The arithmetic of the plan.
    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// What stands for `real` in this operation's kernels.
    pub(super) fn real(&self) -> Element {
        self.real
    }

    /// Whether one block is to do the operation.
    pub(super) fn one_block(&self) -> bool {
        self.one_block
    }

    /// Elements of a tensor.
    pub(super) fn len(&self, id: TensorId) -> usize {
        self.tensors[id].len()
    }

    /// The extents of an image tensor.
    pub(super) fn image(&self, id: TensorId) -> [usize; 4] {
        let shape = &self.tensors[id].shape;
        std::array::from_fn(|axis| shape.get(axis).copied().unwrap_or(1))
    }

    /// A tensor that kernels take as it is stored: singles, whole numbers, bytes.
    pub(super) fn place(&self, id: TensorId) -> Place {
        Place::Tensor(id, 0)
    }

    /// The scale of the loss of which a gradient begins in this tensor, of whose gradients this is the factor, or
    /// which moves this parameter; there may be none.
    pub(super) fn loss_scale(&self, id: TensorId) -> Argument {
        let Some(number) = self.scales.of(id) else {
            return Argument::of(&Scaling::new(1.0), Vec::new());
        };
        let place = Place::Beside(number * LOSS_SCALE_BYTES);
        Argument::of(&Scaling::new(self.scales.first(number)), vec![(0, place)])
    }

    /// Scratch memory of this operation.
    pub(super) fn scratch(&mut self, bytes: usize) -> Place {
        let offset = self.scratch;
        self.scratch += bytes.next_multiple_of(ALIGNMENT);
        self.scratch_bytes = self.scratch_bytes.max(self.scratch);
        Place::Scratch(offset)
    }

    /// A tensor that the operation reads as `real`.
    pub(super) fn read(&mut self, id: TensorId) -> Place {
        let place = Place::Tensor(id, 0);
        if self.elements[id.index()] == self.real {
            return place;
        }
        let n = self.tensors[id].len();
        let converted = self.scratch(n * self.real.bytes());
        let arguments = arguments![place, converted, n];
        self.launch(ELEMENTWISE.over("cast_to_real", self.real, n, arguments));
        converted
    }

    /// A tensor that the operation writes as `real`.
    pub(super) fn write(&mut self, id: TensorId) -> Place {
        if self.elements[id.index()] == self.real {
            return Place::Tensor(id, 0);
        }
        let place = self.scratch(self.tensors[id].len() * self.real.bytes());
        self.results.push((place, id));
        place
    }

    /// Appends a launch. One over nothing is left out.
    pub(super) fn launch(&mut self, launch: Launch) {
        self.push(Work::Launch(launch));
    }

    /// Appends a matrix product.
    pub(super) fn product(&mut self, product: Product) {
        self.push(Work::Product(product));
    }

    fn push(&mut self, work: Work) {
        let (name, ops) = (self.name, self.ops.clone());
        self.steps.push(Step { name, ops, work, stream: 0, after: Vec::new() });
    }
}

/// A pointer that may be missing.
pub(super) fn optional(id: Option<TensorId>) -> Argument {
    id.map_or(Argument::Null, |id| Argument::Pointer(Place::Tensor(id, 0)))
}
