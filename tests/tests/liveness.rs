//! The plan of temporaries: tensors that are alive at the same time never share memory, and the
//! plan is neither smaller than it must be nor larger than no plan at all.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::program::{ALIGNMENT, DType, ProgramSet, Step, TensorId, Tensors, plan_memory};
use lfnn_tests::chain::{self, Chain, Kinks};
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use lfnn_tests::source::Source;
use proptest::prelude::*;

/// A step that touches any tensors, as a backend's fused operation may.
struct Touching(Vec<TensorId>);

impl Step for Touching {
    fn uses(&self) -> Vec<TensorId> {
        self.0.clone()
    }
}

/// A temporary in the plan, with the steps between its first and last use.
#[derive(Debug)]
struct Placed {
    start: usize,
    bytes: usize,
    first: usize,
    last: usize,
}

impl Placed {
    fn lives_with(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start < other.start + other.bytes && other.start < self.start + self.bytes
    }

    fn aligned(&self) -> usize {
        self.bytes.next_multiple_of(ALIGNMENT)
    }
}

/// Plans a schedule and checks everything that a plan promises.
fn check<S: Step>(
    tensors: &Tensors,
    steps: &[S],
    bytes: impl Fn(TensorId) -> usize,
) -> Result<(), String> {
    let plan = plan_memory(tensors, steps, &bytes);
    let mut all: Vec<Placed> = Vec::new();
    for (id, tensor) in tensors.iter() {
        let uses: Vec<usize> =
            (0..steps.len()).filter(|&step| steps[step].uses().contains(&id)).collect();
        let offset = plan.offsets[id.index()];
        let wanted = !tensor.is_persistent() && !uses.is_empty();
        match offset {
            Some(start) if wanted => {
                let (first, last) = (uses[0], *uses.last().unwrap());
                all.push(Placed { start, bytes: bytes(id), first, last });
            }
            None if !wanted => {}
            _ => return Err(format!("{tensor:?}, used at {uses:?}, has the place {offset:?}")),
        }
    }
    for (i, a) in all.iter().enumerate() {
        if a.start % ALIGNMENT != 0 || a.start + a.bytes > plan.bytes {
            return Err(format!("{a:?} in {} bytes", plan.bytes));
        }
        if let Some(b) = all[..i].iter().find(|b| a.lives_with(b) && a.overlaps(b)) {
            return Err(format!("{a:?} and {b:?} share memory"));
        }
    }
    let alive = |step: usize| {
        let living = all.iter().filter(|placed| (placed.first..=placed.last).contains(&step));
        living.map(Placed::aligned).sum::<usize>()
    };
    let least = (0..steps.len()).map(alive).max().unwrap_or(0);
    let most = all.iter().map(Placed::aligned).sum();
    if (least..=most).contains(&plan.bytes) {
        return Ok(());
    }
    Err(format!("{} bytes, expected {least} to {most}", plan.bytes))
}

#[test]
fn temporaries_of_any_schedule_are_apart_while_they_live() {
    property(512, (0usize..30, 0usize..25, any::<u64>()), |(count, steps, seed)| {
        let mut source = Source::new(seed);
        let mut set = ProgramSet::new();
        let ids: Vec<TensorId> = (0..count)
            .map(|_| {
                let shape = [source.index(300)];
                let dtype = source.pick(&[DType::Real, DType::U32, DType::U8]);
                if source.below(5) == 0 {
                    set.persistent("", dtype, &shape)
                } else {
                    set.build("").temporary("", dtype, &shape)
                }
            })
            .collect();
        let steps: Vec<Touching> = (0..steps)
            .map(|_| {
                let touched = if ids.is_empty() { 0 } else { source.index(5) };
                Touching(source.picks(touched, &ids))
            })
            .collect();
        check(set.tensors(), &steps, |id| set.tensors()[id].bytes())?;
        // A backend with reals of another size.
        check(set.tensors(), &steps, |id| 2 * set.tensors()[id].bytes())
    });
}

#[test]
fn temporaries_of_random_networks_are_apart_while_they_live() {
    property(128, (1usize..12, any::<u64>()), |(depth, seed)| {
        let mut case = Case::new(seed);
        let counter = case.any_counter();
        let x = chain::input(&mut case, &[3, 6, 5, 4]);
        let mut chain = Chain::new(x, counter, Kinks::Allowed);
        for _ in 0..depth {
            chain.extend(&mut case);
        }
        let ops = [chain.forward.clone(), chain.tangent.clone(), chain.backward()].concat();
        let tensors = case.set().tensors();
        check(tensors, &ops, |id| tensors[id].bytes())
    });
}
