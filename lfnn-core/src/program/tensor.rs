//! Tensors as a program knows them: a name, a role, a type and a shape.

use std::ops::Index;

/// A tensor of a program set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(u32);

impl TensorId {
    /// Position among the set's tensors.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// A real number, in the backend's working precision: `f32` on the CPU.
    Real,
    /// An unsigned whole number of 32 bits: labels, indices, counters.
    U32,
    /// A byte: pixels, positions in a pooling window.
    U8,
}

impl DType {
    /// Bytes of an element where a real number is an `f32`.
    pub const fn bytes(self) -> usize {
        match self {
            DType::Real | DType::U32 => 4,
            DType::U8 => 1,
        }
    }
}

/// What a tensor is for. Its name is for people and for checkpoints; code asks the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A trainable parameter that prediction with the trained network needs.
    Parameter,
    /// A trainable parameter of a worker's head, which prediction with the trained network does not need.
    Head,
    /// What the forward rule of a layer changes, such as a running mean.
    Buffer,
    /// Mean and standard deviation of the pixels.
    Normalization,
    /// State of the optimiser.
    Optimizer,
    /// A fixed matrix that replaces a weight in the backward pass.
    Feedback,
    /// A sum over the steps of an epoch.
    Metric,
    /// Leaders that stay for an epoch, and the losses by which the next ones are chosen.
    Leaders,
    /// The numbers that tell one step from the next.
    StepCounter,
    /// The data set, the order of the examples, and learning rates.
    Data,
    /// Counters, sums and outputs of an evaluation.
    Evaluation,
    /// Gradient of a parameter.
    Gradient,
    /// Direction of a forward gradient.
    Direction,
    /// Zeros, as persistent tensors hold them from the start. No operation changes them.
    Zeros,
    /// Whatever else the host writes or reads.
    Host,
    /// What a step computes on the way. It lives from its first write to its last read within one run; its memory is
    /// then used again.
    Intermediate,
}

impl Role {
    /// What the names of such tensors begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Role::Parameter | Role::Head | Role::Buffer => "",
            Role::Zeros | Role::Host | Role::Intermediate => "",
            Role::Normalization => "input.",
            Role::Optimizer => "optimizer/",
            Role::Feedback => "feedback/",
            Role::Metric | Role::Leaders | Role::StepCounter => "training/",
            Role::Data => "data/",
            Role::Evaluation => "evaluation/",
            Role::Gradient => "gradients/",
            Role::Direction => "directions/",
        }
    }

    /// Whether such tensors belong to a saved state: with them, a training can be resumed.
    pub const fn is_saved(self) -> bool {
        use Role::{Data, Direction, Evaluation, Gradient, Host, Intermediate, Zeros};
        !matches!(self, Data | Direction | Evaluation | Gradient | Host | Intermediate | Zeros)
    }

    /// Whether such tensors are parameters or buffers of the network itself.
    pub const fn is_of_network(self) -> bool {
        matches!(self, Role::Parameter | Role::Head | Role::Buffer)
    }

    /// The role of a tensor in a file, as far as a name tells it: roles of one [`prefix`](Self::prefix) count as one,
    /// and a name without one is that of a parameter. None for names that no saved tensor has.
    pub fn of_saved(name: &str) -> Option<Self> {
        let prefixed = [Role::Normalization, Role::Optimizer, Role::Feedback, Role::Metric];
        let found = prefixed.into_iter().find(|role| name.starts_with(role.prefix()));
        found.or((!name.contains('/')).then_some(Role::Parameter))
    }
}

/// A tensor's declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// A name for people, and for a persistent tensor the name in a checkpoint.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Type of the elements.
    pub dtype: DType,
    /// Extent of each axis; the last one is contiguous in memory.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// The name without the prefix of the role: of a gradient, say, the name of its parameter.
    pub fn bare_name(&self) -> &str {
        self.name.strip_prefix(self.role.prefix()).unwrap_or(&self.name)
    }

    /// Whether the contents live as long as the executable: they start as zeros, and the host can upload and download
    /// them. Other tensors are temporaries.
    pub fn is_persistent(&self) -> bool {
        self.role != Role::Intermediate
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes where a real number is an `f32`.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype.bytes()
    }
}

/// All tensors of a program set, indexed by [`TensorId`].
#[derive(Clone, Debug, Default)]
pub struct Tensors(Vec<Tensor>);

impl Tensors {
    pub(super) fn add(&mut self, tensor: Tensor) -> TensorId {
        self.0.push(tensor);
        TensorId(self.0.len() as u32 - 1)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each tensor with its id.
    pub fn iter(&self) -> impl Iterator<Item = (TensorId, &Tensor)> {
        self.0.iter().enumerate().map(|(i, t)| (TensorId(i as u32), t))
    }

    /// The first tensor with which all are more than `bytes` together, in an arithmetic that no shape
    /// overflows.
    pub(super) fn first_beyond(&self, bytes: usize) -> Option<&Tensor> {
        let mut left = bytes;
        self.0.iter().find(|tensor| {
            let size = tensor.shape.iter().try_fold(tensor.dtype.bytes(), |a, &b| a.checked_mul(b));
            match size.and_then(|size| left.checked_sub(size)) {
                Some(rest) => left = rest,
                None => return true,
            }
            false
        })
    }

    /// The last axis: features or channels.
    pub fn channels(&self, id: TensorId) -> usize {
        self[id].shape.last().copied().unwrap_or(1)
    }

    /// Elements divided by the last axis.
    pub fn rows(&self, id: TensorId) -> usize {
        let channels = self.channels(id);
        self[id].len().checked_div(channels).unwrap_or(0)
    }

    pub(super) fn expect_type(&self, id: TensorId, dtype: DType) -> Result<(), String> {
        let tensor = &self[id];
        if tensor.dtype == dtype {
            return Ok(());
        }
        Err(format!("`{}` is {:?}, expected {dtype:?}", tensor.name, tensor.dtype))
    }

    /// Checks that a tensor is real and has this shape.
    pub(super) fn expect(&self, id: TensorId, shape: &[usize]) -> Result<(), String> {
        self.expect_type(id, DType::Real)?;
        self.expect_shape(id, shape)
    }

    pub(super) fn expect_shape(&self, id: TensorId, shape: &[usize]) -> Result<(), String> {
        let tensor = &self[id];
        if tensor.shape == shape {
            return Ok(());
        }
        Err(format!("`{}` has shape {:?}, expected {shape:?}", tensor.name, tensor.shape))
    }

    /// Checks that a tensor has the shape and type of another.
    pub(super) fn expect_like(&self, id: TensorId, other: TensorId) -> Result<(), String> {
        self.expect_type(id, self[other].dtype)?;
        self.expect_shape(id, &self[other].shape)
    }

    /// The four extents of an image tensor.
    pub(super) fn image(&self, id: TensorId) -> Result<[usize; 4], String> {
        self.expect_type(id, DType::Real)?;
        self[id].shape.as_slice().try_into().map_err(|_| {
            format!(
                "`{}` has shape {:?}, expected [batch, height, width, channels]",
                self[id].name, self[id].shape
            )
        })
    }

    /// The two extents of a matrix.
    pub(super) fn matrix(&self, id: TensorId) -> Result<[usize; 2], String> {
        self.expect_type(id, DType::Real)?;
        self[id].shape.as_slice().try_into().map_err(|_| {
            format!("`{}` has shape {:?}, expected two axes", self[id].name, self[id].shape)
        })
    }
}

impl Index<TensorId> for Tensors {
    type Output = Tensor;

    fn index(&self, id: TensorId) -> &Tensor {
        &self.0[id.index()]
    }
}
