//! Who leads, and whom the followers follow.

use super::store::Store;
use lfnn_core::program::{
    AlignmentTarget, EpochLeaders, MaskFollowers, Predictions, Reference, SelectLeaders, clock,
};
use lfnn_core::random::below;

/// The leaders' mask and the best worker of every classifier of every row.
fn choose(losses: &[f64], predictions: Predictions, count: usize) -> (Vec<f64>, Vec<u32>) {
    let (mut leaders, mut best) = (Vec::new(), Vec::new());
    for classifier in losses.chunks(predictions.workers) {
        let loss = |n: usize| if classifier[n].is_nan() { f64::INFINITY } else { classifier[n] };
        // The rank of a worker is the number of workers that come before it.
        let rank = |n: usize| {
            let before = |m: usize| loss(m) < loss(n) || (loss(m) == loss(n) && m < n);
            (0..predictions.workers).filter(|&m| before(m)).count()
        };
        leaders.extend((0..predictions.workers).map(|n| f64::from(rank(n) < count)));
        best.extend((0..predictions.workers).filter(|&n| rank(n) == 0).map(|n| n as u32));
    }
    (leaders, best)
}

/// Leaders of the batch, or of each sample.
pub(super) fn select(op: &SelectLeaders, s: &mut Store) {
    let (leaders, best) = choose(s.real(op.losses), op.predictions, op.count);
    s.set_real(op.leaders, leaders);
    s.set_whole(op.best, best);
}

/// Leaders of the epoch.
pub(super) fn epoch(op: &EpochLeaders, s: &mut Store) {
    let clock = s.whole(op.clock);
    let first_epoch = clock[clock::EPOCH] == 0;
    let first_step = clock[clock::STEP] == 0;
    let losses = s.real(op.losses).to_vec();
    let mut sums = s.real(op.epoch_losses).to_vec();
    if first_step {
        let (leaders, best) =
            choose(if first_epoch { &losses } else { &sums }, op.predictions, op.count);
        s.set_real(op.leaders, leaders);
        s.set_whole(op.best, best);
        sums.fill(0.0);
    }
    for (sum, loss) in sums.iter_mut().zip(&losses) {
        *sum += loss;
    }
    s.set_real(op.epoch_losses, sums);
}

/// p* or z*.
pub(super) fn alignment_target(op: &AlignmentTarget, s: &mut Store) {
    let Predictions { classifiers, workers, classes } = op.predictions;
    let clock = s.whole(op.clock);
    let rows = s.batch(op.leaders);
    let mut reference = Vec::new();
    for b in 0..s.batch(op.value) {
        let row = if rows == 1 { 0 } else { b };
        for classifier in 0..classifiers {
            let leads = |n: usize| {
                s.real(op.leaders)[(row * classifiers + classifier) * workers + n] != 0.0
            };
            let leaders: Vec<usize> = (0..workers).filter(|&n| leads(n)).collect();
            let followed = match op.rule {
                Reference::Best => vec![s.whole(op.best)[row * classifiers + classifier] as usize],
                Reference::Mean => leaders,
                Reference::Random(stream) => {
                    let word = stream.at(
                        clock::seed(clock),
                        clock[clock::EPOCH],
                        clock[clock::STEP],
                        (row * classifiers + classifier) as u32,
                    );
                    vec![leaders[below(word, leaders.len() as u32) as usize]]
                }
            };
            for k in 0..classes {
                let value = |n: usize| {
                    s.real(op.value)[((b * classifiers + classifier) * workers + n) * classes + k]
                };
                let sum: f64 = followed.iter().map(|&n| value(n)).sum();
                reference.push(sum / followed.len() as f64);
            }
        }
    }
    s.set_real(op.reference, reference);
}

/// Zero where the worker that owns the channel does not lead.
pub(super) fn mask_followers(op: &MaskFollowers, s: &mut Store) {
    let [rows, workers] = s.matrix(op.leaders);
    let channels = s.channels(op.x);
    let per_sample = s.len(op.x) / s.batch(op.x);
    let y = s
        .real(op.x)
        .iter()
        .enumerate()
        .map(|(i, &x)| {
            let row = if rows == 1 { 0 } else { i / per_sample };
            let worker = i % channels / (channels / workers);
            if s.real(op.leaders)[row * workers + worker] != 0.0 { x } else { 0.0 }
        })
        .collect();
    s.set_real(op.y, y);
}
