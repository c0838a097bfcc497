//! The Vicsek model: particles of one speed that take the mean heading of those around them, under noise
//! (Vicsek et al. 1995, Phys. Rev. Lett. 75, 1226).
//!
//! Neighbours are found by a list of cells whose sides are at least as long as the reach, so that a step
//! costs the same for each particle however many there are.

use std::f64::consts::{PI, TAU};

use lfnn_core::random::{philox, unit};

/// Constants of the model. The reach of a particle is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settings {
    /// Number of particles.
    pub(super) particles: usize,
    /// Side of the square, whose opposite edges are joined.
    pub(super) side: f64,
    /// Distance that a particle moves in a step.
    pub(super) speed: f64,
    /// η: a heading is turned by a random angle in (−ηπ, ηπ]; 0 is no noise, 1 leaves no order.
    pub(super) noise: f64,
    /// Where random numbers come from.
    pub(super) seed: u64,
}

/// A flock at a moment.
#[derive(Clone, Debug)]
pub(super) struct Flock {
    settings: Settings,
    /// Positions in `[0, side)²`.
    pub(super) positions: Vec<[f64; 2]>,
    /// Directions, as unit vectors.
    pub(super) headings: Vec<[f64; 2]>,
    step: u32,
    cells: Cells,
}

/// Particles sorted by the cell in which they are.
#[derive(Clone, Debug, Default)]
struct Cells {
    /// Cells along a side.
    count: usize,
    /// Where each cell's particles begin in `order`, and where the last one's end.
    starts: Vec<usize>,
    order: Vec<usize>,
    /// Positions and headings in that order: what is read together is stored together.
    sorted: Vec<([f64; 2], [f64; 2])>,
}

impl Flock {
    /// Random positions and headings.
    pub(super) fn new(settings: Settings) -> Self {
        let mut flock = Self {
            settings,
            positions: Vec::with_capacity(settings.particles),
            headings: Vec::with_capacity(settings.particles),
            step: 0,
            cells: Cells::default(),
        };
        for particle in 0..settings.particles {
            let [x, y, angle, _] = flock.random(particle);
            flock.positions.push([x * settings.side, y * settings.side]);
            flock.headings.push(direction(TAU * angle));
        }
        flock.step = 1;
        flock
    }

    /// Four numbers in [0, 1) for a particle in this step.
    fn random(&self, particle: usize) -> [f64; 4] {
        let seed = self.settings.seed;
        // The last word keeps these apart from every stream of training.
        philox([particle as u32, self.step, 0, u32::MAX], [seed as u32, (seed >> 32) as u32])
            .map(unit)
    }

    /// One step, with neighbours from the list of cells.
    pub(super) fn step(&mut self) {
        let side = self.settings.side;
        let mut cells = std::mem::take(&mut self.cells);
        cells.sort(&self.positions, &self.headings, side);
        let mut means = vec![[0.0; 2]; self.positions.len()];
        let n = cells.count;
        for row in 0..n {
            for column in 0..n {
                for &particle in cells.members(row * n + column) {
                    let at = self.positions[particle];
                    let mut sum = [0.0; 2];
                    // With fewer than three cells along a side the neighbours would be met twice.
                    for near_row in around(row, n) {
                        for near_column in around(column, n) {
                            for (position, heading) in cells.near(near_row * n + near_column) {
                                if apart(at, *position, side) <= 1.0 {
                                    sum[0] += heading[0];
                                    sum[1] += heading[1];
                                }
                            }
                        }
                    }
                    means[particle] = sum;
                }
            }
        }
        self.cells = cells;
        self.turn_and_move(&means);
    }

    /// Turns every particle to the mean heading around it, under noise, and moves it.
    fn turn_and_move(&mut self, means: &[[f64; 2]]) {
        let Settings { side, speed, noise, .. } = self.settings;
        for (particle, mean) in means.iter().enumerate() {
            let [turn, ..] = self.random(particle);
            let heading = direction(mean[1].atan2(mean[0]) + noise * PI * (1.0 - 2.0 * turn));
            self.headings[particle] = heading;
            for (place, along) in self.positions[particle].iter_mut().zip(heading) {
                *place = (*place + speed * along).rem_euclid(side);
                // A tiny negative number has the side itself as its remainder.
                if *place >= side {
                    *place = 0.0;
                }
            }
        }
        self.step += 1;
    }

    /// φ: the length of the mean heading; 1 if all move one way, near 0 if none does.
    pub(super) fn order(&self) -> f64 {
        order(self.headings.iter().copied())
    }
}

/// The length of the mean of unit vectors.
pub(super) fn order(directions: impl IntoIterator<Item = [f64; 2]>) -> f64 {
    let (mut sum, mut count) = ([0.0; 2], 0.0f64);
    for [x, y] in directions {
        sum = [sum[0] + x, sum[1] + y];
        count += 1.0;
    }
    sum[0].hypot(sum[1]) / count.max(1.0)
}

fn direction(angle: f64) -> [f64; 2] {
    [angle.cos(), angle.sin()]
}

/// Squared distance on the square with joined edges.
fn apart(a: [f64; 2], b: [f64; 2], side: f64) -> f64 {
    let along = |axis: usize| {
        let distance = (a[axis] - b[axis]).abs();
        distance.min(side - distance)
    };
    along(0).powi(2) + along(1).powi(2)
}

/// A cell's row or column and its neighbours, each once.
fn around(at: usize, count: usize) -> impl Iterator<Item = usize> {
    let near = [(at + count - 1) % count, at, (at + 1) % count];
    (0..count.min(3)).map(move |index| if count < 3 { index } else { near[index] })
}

impl Cells {
    /// Sorts particles by their cells.
    fn sort(&mut self, positions: &[[f64; 2]], headings: &[[f64; 2]], side: f64) {
        self.count = (side.floor() as usize).max(1);
        let width = side / self.count as f64;
        let along = |place: f64| ((place / width) as usize).min(self.count - 1);
        let cell = |[x, y]: [f64; 2]| along(y) * self.count + along(x);
        let mut starts = vec![0; self.count * self.count + 1];
        for &position in positions {
            starts[cell(position) + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut next = starts.clone();
        self.order.resize(positions.len(), 0);
        for (particle, &position) in positions.iter().enumerate() {
            let place = &mut next[cell(position)];
            self.order[*place] = particle;
            *place += 1;
        }
        self.sorted.clear();
        self.sorted.extend(self.order.iter().map(|&at| (positions[at], headings[at])));
        self.starts = starts;
    }

    fn members(&self, cell: usize) -> &[usize] {
        &self.order[self.starts[cell]..self.starts[cell + 1]]
    }

    fn near(&self, cell: usize) -> &[([f64; 2], [f64; 2])] {
        &self.sorted[self.starts[cell]..self.starts[cell + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same step with every pair of particles looked at.
    fn step_by_pairs(flock: &mut Flock) {
        let side = flock.settings.side;
        let mean = |at: &[f64; 2]| {
            let mut sum = [0.0; 2];
            for (position, heading) in flock.positions.iter().zip(&flock.headings) {
                if apart(*at, *position, side) <= 1.0 {
                    sum = [sum[0] + heading[0], sum[1] + heading[1]];
                }
            }
            sum
        };
        let means: Vec<[f64; 2]> = flock.positions.iter().map(mean).collect();
        flock.turn_and_move(&means);
    }

    #[test]
    fn the_list_of_cells_finds_the_neighbours_that_looking_at_every_pair_finds() {
        for side in [1.3, 2.7, 3.0, 8.5] {
            let settings = Settings { particles: 300, side, speed: 0.3, noise: 0.2, seed: 3 };
            let mut cells = Flock::new(settings);
            for step in 0..30 {
                let mut pairs = cells.clone();
                cells.step();
                step_by_pairs(&mut pairs);
                for (a, b) in cells.headings.iter().zip(&pairs.headings) {
                    let same = (a[0] - b[0]).abs() < 1e-9 && (a[1] - b[1]).abs() < 1e-9;
                    assert!(same, "side {side}, step {step}: {a:?} and {b:?}");
                }
            }
        }
    }

    #[test]
    fn without_noise_all_move_one_way_and_with_full_noise_none_does() {
        let run = |noise: f64| {
            let settings = Settings { particles: 2000, side: 10.0, speed: 0.1, noise, seed: 1 };
            let mut flock = Flock::new(settings);
            (0..300).for_each(|_| flock.step());
            flock.order()
        };
        let still = run(0.0);
        assert!(still > 0.999, "order {still} without noise");
        // Of 2,000 independent directions the mean has a length of about 1/√2000 = 0.022.
        let wild = run(1.0);
        assert!(wild < 0.08, "order {wild} with full noise");
        let between = run(0.4);
        assert!(wild < between && between < still, "{between}");
    }

    #[test]
    fn particles_stay_on_the_square_and_keep_their_speed() {
        let settings = Settings { particles: 500, side: 4.0, speed: 0.5, noise: 0.6, seed: 2 };
        let mut flock = Flock::new(settings);
        for _ in 0..50 {
            let before = flock.positions.clone();
            flock.step();
            for (a, b) in before.iter().zip(&flock.positions) {
                assert!(b.iter().all(|&place| (0.0..4.0).contains(&place)));
                assert!((apart(*a, *b, 4.0).sqrt() - 0.5).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_flock() {
        let settings = Settings { particles: 100, side: 5.0, speed: 0.2, noise: 0.3, seed: 9 };
        let run = |seed: u64| {
            let mut flock = Flock::new(Settings { seed, ..settings });
            (0..10).for_each(|_| flock.step());
            flock.positions
        };
        assert_eq!(run(9), run(9));
        assert_ne!(run(9), run(10));
    }
}
