//! Who leads, and whom the followers follow.

use super::Execute;
use super::store::Store;
use lfnn_core::program::{
    AlignmentTarget, EpochLeaders, MaskFollowers, Predictions, Reference, SelectLeaders,
    step_counter,
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
impl Execute for SelectLeaders {
    fn execute(&self, s: &mut Store) {
        let (leaders, best) = choose(s.real(self.losses), self.predictions, self.count);
        s.set_real(self.leaders, leaders);
        s.set_whole(self.best, best);
    }
}

/// Leaders of the epoch.
impl Execute for EpochLeaders {
    fn execute(&self, s: &mut Store) {
        let counter = s.whole(self.counter);
        let first_epoch = counter[step_counter::EPOCH] == 0;
        let first_step = counter[step_counter::STEP] == 0;
        let losses = s.real(self.losses).to_vec();
        let mut sums = s.real(self.epoch_losses).to_vec();
        if first_step {
            let (leaders, best) =
                choose(if first_epoch { &losses } else { &sums }, self.predictions, self.count);
            s.set_real(self.leaders, leaders);
            s.set_whole(self.best, best);
            sums.fill(0.0);
        }
        for (sum, loss) in sums.iter_mut().zip(&losses) {
            *sum += loss;
        }
        s.set_real(self.epoch_losses, sums);
    }
}

/// p* or z*.
impl Execute for AlignmentTarget {
    fn execute(&self, s: &mut Store) {
        let Predictions { classifiers, workers, classes } = self.predictions;
        let counter = s.whole(self.counter);
        let rows = s.batch(self.leaders);
        let mut reference = Vec::new();
        for b in 0..s.batch(self.value) {
            let row = if rows == 1 { 0 } else { b };
            for classifier in 0..classifiers {
                let leads = |n: usize| {
                    s.real(self.leaders)[(row * classifiers + classifier) * workers + n] != 0.0
                };
                let leaders: Vec<usize> = (0..workers).filter(|&n| leads(n)).collect();
                let followed = match self.rule {
                    Reference::Best => {
                        vec![s.whole(self.best)[row * classifiers + classifier] as usize]
                    }
                    Reference::Mean => leaders,
                    Reference::Random(stream) => {
                        let word = stream.at(
                            step_counter::seed(counter),
                            counter[step_counter::EPOCH],
                            counter[step_counter::STEP],
                            (row * classifiers + classifier) as u32,
                        );
                        vec![leaders[below(word, leaders.len() as u32) as usize]]
                    }
                };
                for k in 0..classes {
                    let value = |n: usize| {
                        s.real(self.value)
                            [((b * classifiers + classifier) * workers + n) * classes + k]
                    };
                    let sum: f64 = followed.iter().map(|&n| value(n)).sum();
                    reference.push(sum / followed.len() as f64);
                }
            }
        }
        s.set_real(self.reference, reference);
    }
}

/// Zero where the worker that owns the channel does not lead.
impl Execute for MaskFollowers {
    fn execute(&self, s: &mut Store) {
        let [rows, workers] = s.matrix(self.leaders);
        let channels = s.channels(self.x);
        let per_sample = s.len(self.x) / s.batch(self.x);
        let y = s
            .real(self.x)
            .iter()
            .enumerate()
            .map(|(i, &x)| {
                let row = if rows == 1 { 0 } else { i / per_sample };
                let worker = i % channels / (channels / workers);
                if s.real(self.leaders)[row * workers + worker] != 0.0 { x } else { 0.0 }
            })
            .collect();
        s.set_real(self.y, y);
    }
}
