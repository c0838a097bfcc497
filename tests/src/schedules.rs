//! What tests of schedules share: steps to order, which of them conflict, and whether a plan of memory keeps
//! apart what may be alive at the same time.

use lfnn_core::config::{NetworkConfig, TrainingConfig};
use lfnn_core::method::by_name;
use lfnn_core::program::{
    ALIGNMENT, DType, MemoryPlan, Node, Order, ProgramSet, Step, TensorId, Tensors,
};
use lfnn_core::train::{Normalization, Setup, StepProgram};
use serde_json::json;

use crate::source::Source;

/// Whether one of two steps changes what the other reads or changes.
pub fn conflict(a: &Node, b: &Node) -> bool {
    let changes = |a: &Node, b: &Node| {
        a.writes.iter().any(|id| b.reads.contains(id) || b.writes.contains(id))
    };
    changes(a, b) || changes(b, a)
}

/// The training step of `depth` equal layers with readout workers.
pub fn training_step(method: &str, depth: usize) -> StepProgram {
    let unit = json!({
        "layers": [{"conv": {"filters": 16, "kernel": 3, "padding": 1}}, {"batch_norm": {}}, "relu"],
        "workers": {"readout": {"count": 4, "grid": 2}}
    });
    let network: NetworkConfig =
        serde_json::from_value(json!({"units": vec![unit; depth]})).unwrap();
    let training: TrainingConfig = serde_json::from_value(json!({
        "batch_size": 32, "epochs": 1, "optimizer": {"adamw": {"lr": 0.01}}
    }))
    .unwrap();
    let setup = Setup::new(&network, &training, by_name(method).unwrap())
        .normalized_by(Normalization { mean: vec![0.0; 3], std: vec![1.0; 3] });
    StepProgram::new(&setup, [16, 16, 3], 10).unwrap()
}

/// A program set of `tensors` tensors, most of them temporary, and `nodes` steps that touch any of them.
pub fn random_nodes(source: &mut Source, tensors: usize, nodes: usize) -> (ProgramSet, Vec<Node>) {
    let mut set = ProgramSet::new();
    let ids: Vec<TensorId> = (0..tensors)
        .map(|_| {
            let shape = [source.index(300)];
            if source.below(5) == 0 {
                set.persistent("", DType::Real, &shape)
            } else {
                set.build("").temporary("", DType::Real, &shape)
            }
        })
        .collect();
    let nodes = (0..nodes)
        .map(|_| {
            let (reads, writes) = (source.index(4), source.index(3));
            Node { reads: source.picks(reads, &ids), writes: source.picks(writes, &ids) }
        })
        .collect();
    (set, nodes)
}

/// The plan by its definition: the largest temporary first, each as low as it can lie apart from all that may live
/// with it. `before` says whether one node is done before another starts.
pub fn plan_by_definition(
    nodes: &[Node],
    tensors: &Tensors,
    before: impl Fn(usize, usize) -> bool,
) -> MemoryPlan {
    let uses = |id: TensorId| -> Vec<usize> {
        (0..nodes.len()).filter(|&node| nodes[node].uses().contains(&id)).collect()
    };
    let mut ranked: Vec<(TensorId, usize, Vec<usize>)> = tensors
        .iter()
        .filter(|(_, tensor)| !tensor.is_persistent())
        .map(|(id, tensor)| (id, tensor.bytes().next_multiple_of(ALIGNMENT), uses(id)))
        .filter(|(.., uses)| !uses.is_empty())
        .collect();
    ranked.sort_by_key(|(id, _, uses)| (std::cmp::Reverse(tensors[*id].bytes()), uses[0], *id));
    let mut plan = MemoryPlan { offsets: vec![None; tensors.len()], bytes: 0 };
    let mut placed: Vec<(usize, usize, &[usize])> = Vec::new();
    for (id, size, uses) in &ranked {
        let done = |one: &[usize], other: &[usize]| {
            one.iter().all(|&one| other.iter().all(|&other| before(one, other)))
        };
        let meets = |other: &[usize]| !done(uses, other) && !done(other, uses);
        let mut taken: Vec<(usize, usize)> = (placed.iter().filter(|(.., other)| meets(other)))
            .map(|&(start, end, _)| (start, end))
            .collect();
        taken.sort_unstable();
        let mut start = 0;
        for (from, to) in taken {
            if start + size <= from {
                break;
            }
            start = start.max(to);
        }
        plan.offsets[id.index()] = Some(start);
        plan.bytes = plan.bytes.max(start + size);
        placed.push((start, start + size, uses));
    }
    plan
}

/// Checks that an order says of every step beside which others it may run, and that steps of a stream are in order.
///
/// # Errors
/// Two steps of which it is wrong.
pub fn check_order(order: &impl Order, steps: usize) -> Result<(), String> {
    for step in 0..steps {
        let beside = order.beside(step);
        if !beside.contains(&step) {
            return Err(format!("{beside:?} lacks {step}"));
        }
        for other in (0..steps).filter(|&other| other != step) {
            let ordered = order.ordered(step, other) || order.ordered(other, step);
            let wrong = other < step && order.ordered(step, other);
            let together = order.stream(step) == order.stream(other);
            if wrong || !ordered && (together || !beside.contains(&other)) {
                return Err(format!("{step} and {other}: {beside:?}, one stream: {together}"));
            }
        }
    }
    Ok(())
}

/// Checks that each temporary in use has a place inside the plan, and that two share memory only if all uses of one
/// are done before all uses of the other. `before` says whether one node is done before another starts.
///
/// # Errors
/// What is wrong.
pub fn check_plan(
    nodes: &[Node],
    tensors: &Tensors,
    plan: &MemoryPlan,
    before: impl Fn(usize, usize) -> bool,
) -> Result<(), String> {
    let uses = |id: TensorId| -> Vec<usize> {
        (0..nodes.len()).filter(|&node| nodes[node].uses().contains(&id)).collect()
    };
    let mut placed: Vec<(TensorId, usize, Vec<usize>)> = Vec::new();
    for (id, tensor) in tensors.iter() {
        let used = uses(id);
        let wanted = !tensor.is_persistent() && !used.is_empty();
        match plan.offsets[id.index()] {
            Some(offset) if wanted => placed.push((id, offset, used)),
            None if !wanted => {}
            place => return Err(format!("{tensor:?}, used at {used:?}, has the place {place:?}")),
        }
    }
    for (i, (a, start, uses)) in placed.iter().enumerate() {
        let end = start + tensors[*a].bytes();
        if end > plan.bytes {
            return Err(format!("{a:?} ends at {end} of {}", plan.bytes));
        }
        for (b, other_start, other_uses) in &placed[..i] {
            let other_end = other_start + tensors[*b].bytes();
            let apart = |one: &[usize], other: &[usize]| {
                one.iter().all(|&one| other.iter().all(|&other| before(one, other)))
            };
            let overlap = *start < other_end && *other_start < end;
            if overlap && !apart(uses, other_uses) && !apart(other_uses, uses) {
                return Err(format!("{a:?} and {b:?} share memory while they live"));
            }
        }
    }
    Ok(())
}
