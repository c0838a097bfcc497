//! Which tensors a tensor's contents depend on: the question of locality, answered by the program.

use std::collections::BTreeSet;

use super::{Operation, Program, TensorId};

/// The tensors whose contents at the start of a run can influence what `target` holds after its last
/// write, directly or through other operations: everything, persistent or not, that a backward walk
/// over reads and writes meets. A tensor that is not in the set cannot change a bit of the target.
pub fn influences(program: &Program, target: TensorId) -> BTreeSet<TensorId> {
    let mut all = BTreeSet::from([target]);
    let mut wanted = BTreeSet::from([target]);
    for op in program.ops().iter().rev() {
        let (writes, updates) = (op.writes(), op.updates());
        if !writes.iter().chain(&updates).any(|id| wanted.contains(id)) {
            continue;
        }
        // What is overwritten no longer matters before this operation; what is updated still does.
        for id in &writes {
            wanted.remove(id);
        }
        let sources = op.reads().into_iter().chain(updates);
        for id in sources {
            wanted.insert(id);
            all.insert(id);
        }
    }
    all
}
