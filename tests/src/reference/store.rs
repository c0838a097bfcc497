//! The tensors of a module: one vector each.

use lfnn_core::program::{DType, TensorId, Tensors};

/// The contents of one tensor.
#[derive(Debug)]
pub(super) enum Buffer {
    Real(Vec<f64>),
    Whole(Vec<u32>),
    Bytes(Vec<u8>),
}

/// All tensors of a module.
#[derive(Debug)]
pub(super) struct Store {
    tensors: Tensors,
    buffers: Vec<Buffer>,
}

impl Store {
    /// Persistent tensors as zeros, temporaries as poison.
    pub(super) fn new(tensors: &Tensors) -> Self {
        let buffers = tensors
            .iter()
            .map(|(_, tensor)| match tensor.dtype {
                DType::Real => Buffer::Real(vec![0.0; tensor.len()]),
                DType::U32 => Buffer::Whole(vec![0; tensor.len()]),
                DType::U8 => Buffer::Bytes(vec![0; tensor.len()]),
            })
            .collect();
        let mut store = Self { tensors: tensors.clone(), buffers };
        store.poison_temporaries();
        store
    }

    pub(super) fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    pub(super) fn buffer(&self, id: TensorId) -> &Buffer {
        &self.buffers[id.index()]
    }

    pub(super) fn poison_temporaries(&mut self) {
        let temporaries: Vec<TensorId> = self
            .tensors
            .iter()
            .filter(|(_, tensor)| !tensor.is_persistent())
            .map(|(id, _)| id)
            .collect();
        temporaries.into_iter().for_each(|id| self.poison(id));
    }

    /// Fills a tensor with values that nobody mistakes for a result.
    pub(super) fn poison(&mut self, id: TensorId) {
        match &mut self.buffers[id.index()] {
            Buffer::Real(values) => values.fill(f64::NAN),
            Buffer::Whole(values) => values.fill(0xDEAD_BEEF),
            Buffer::Bytes(values) => values.fill(0xFF),
        }
    }

    pub(super) fn real(&self, id: TensorId) -> &[f64] {
        match self.buffer(id) {
            Buffer::Real(values) => values,
            _ => panic!("`{}` is not real", self.tensors[id].name),
        }
    }

    pub(super) fn whole(&self, id: TensorId) -> &[u32] {
        match self.buffer(id) {
            Buffer::Whole(values) => values,
            _ => panic!("`{}` is not of whole numbers", self.tensors[id].name),
        }
    }

    pub(super) fn bytes(&self, id: TensorId) -> &[u8] {
        match self.buffer(id) {
            Buffer::Bytes(values) => values,
            _ => panic!("`{}` is not of bytes", self.tensors[id].name),
        }
    }

    pub(super) fn set_real(&mut self, id: TensorId, values: Vec<f64>) {
        assert_eq!(values.len(), self.real(id).len(), "`{}`", self.tensors[id].name);
        self.buffers[id.index()] = Buffer::Real(values);
    }

    pub(super) fn set_whole(&mut self, id: TensorId, values: Vec<u32>) {
        assert_eq!(values.len(), self.whole(id).len(), "`{}`", self.tensors[id].name);
        self.buffers[id.index()] = Buffer::Whole(values);
    }

    pub(super) fn set_bytes(&mut self, id: TensorId, values: Vec<u8>) {
        assert_eq!(values.len(), self.bytes(id).len(), "`{}`", self.tensors[id].name);
        self.buffers[id.index()] = Buffer::Bytes(values);
    }

    pub(super) fn len(&self, id: TensorId) -> usize {
        self.tensors[id].len()
    }

    /// Extent of the last axis.
    pub(super) fn channels(&self, id: TensorId) -> usize {
        self.tensors.channels(id)
    }

    /// Extent of the first axis.
    pub(super) fn batch(&self, id: TensorId) -> usize {
        self.tensors[id].shape[0]
    }

    pub(super) fn image(&self, id: TensorId) -> [usize; 4] {
        self.tensors[id].shape.as_slice().try_into().unwrap()
    }

    pub(super) fn matrix(&self, id: TensorId) -> [usize; 2] {
        self.tensors[id].shape.as_slice().try_into().unwrap()
    }
}

/// Position of element `[a, b, c, d]` in a tensor of these extents.
pub(super) fn at(extents: [usize; 4], [a, b, c, d]: [usize; 4]) -> usize {
    assert!(a < extents[0] && b < extents[1] && c < extents[2] && d < extents[3]);
    ((a * extents[1] + b) * extents[2] + c) * extents[3] + d
}

/// Every index `[a, b, c, d]` of a tensor of these extents, in the order of memory.
pub(super) fn indices(extents: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    let length: usize = extents.iter().product();
    (0..length).map(move |position| {
        let (rest, d) = (position / extents[3], position % extents[3]);
        let (rest, c) = (rest / extents[2], rest % extents[2]);
        [rest / extents[1], rest % extents[1], c, d]
    })
}
