//! What the steps of a program really wait for.
//!
//! A program lists its operations in an order. What an operation waits for is less: those that wrote
//! what it reads, and those that read or wrote what it overwrites. In `lfnn-l` a unit's backward pass and
//! update wait for the unit alone, and the next unit's forward pass does not wait for them: there is no
//! backward locking. Backends run such steps side by side.

use super::{Operation, Step, TensorId, Tensors};

/// What must be known of a step to order it: of an operation, or of several that were made one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Tensors whose contents it needs.
    pub reads: Vec<TensorId>,
    /// Tensors that it changes, wholly or in part.
    pub writes: Vec<TensorId>,
}

impl Node {
    /// A node that does all of these operations.
    pub fn of<'a>(operations: impl IntoIterator<Item = &'a dyn Operation>) -> Self {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for operation in operations {
            reads.extend(operation.reads());
            reads.extend(operation.updates());
            writes.extend(operation.writes());
            writes.extend(operation.updates());
        }
        for ids in [&mut reads, &mut writes] {
            ids.sort_unstable();
            ids.dedup();
        }
        Self { reads, writes }
    }

    /// Bytes of its tensors, those that it reads and changes twice.
    pub fn bytes(&self, tensors: &Tensors) -> usize {
        self.tensors().map(|id| tensors[id].bytes()).sum()
    }

    fn tensors(&self) -> impl Iterator<Item = TensorId> {
        self.reads.iter().chain(&self.writes).copied()
    }
}

impl Step for Node {
    fn uses(&self) -> Vec<TensorId> {
        self.tensors().collect()
    }
}

/// For each node, the earlier nodes for which it must wait: the writers of what it reads and changes, and
/// the readers of what it changes. Ascending; what follows from other dependencies may be left out.
pub fn dependencies(nodes: &[Node], tensors: &Tensors) -> Vec<Vec<usize>> {
    let mut writer: Vec<Option<usize>> = vec![None; tensors.len()];
    // Those that have read a tensor since it was last written.
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); tensors.len()];
    let mut all = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let mut before: Vec<usize> = Vec::new();
        before.extend(node.tensors().filter_map(|id| writer[id.index()]));
        before.extend(node.writes.iter().flat_map(|id| &readers[id.index()]));
        before.sort_unstable();
        before.dedup();
        for id in &node.reads {
            readers[id.index()].push(index);
        }
        for id in &node.writes {
            writer[id.index()] = Some(index);
            readers[id.index()].clear();
        }
        all.push(before);
    }
    all
}

/// For each node, the earlier nodes that wrote what it reads: those of its [`dependencies`] on which the values
/// that it computes rest. Ascending.
pub fn producers(nodes: &[Node], tensors: &Tensors) -> Vec<Vec<usize>> {
    let mut writer: Vec<Option<usize>> = vec![None; tensors.len()];
    let mut all = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let mut from: Vec<usize> = node.reads.iter().filter_map(|id| writer[id.index()]).collect();
        from.sort_unstable();
        from.dedup();
        for id in &node.writes {
            writer[id.index()] = Some(index);
        }
        all.push(from);
    }
    all
}
