//! Seeded values to fill tensors with.

use lfnn_core::program::Window;
use lfnn_core::random::{Purpose, Stream, below, unit};

/// A sequence of values that depends on its seed alone.
#[derive(Clone, Debug)]
pub struct Source {
    seed: u64,
    drawn: u32,
}

impl Source {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// A random word.
    pub fn word(&mut self) -> u32 {
        self.drawn += 1;
        Stream::new(Purpose::Init, 0).at(self.seed, 0, 0, self.drawn)
    }

    /// A whole number below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        below(self.word(), n)
    }

    /// A whole number below `n`, as an index.
    pub fn index(&mut self, n: usize) -> usize {
        self.below(u32::try_from(n).unwrap()) as usize
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// A number between `low` and `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * unit(self.word())
    }

    /// One of the choices.
    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())].clone()
    }

    /// A window that fits an image; square in half of the cases. `most_padding` is for a kernel.
    pub fn window(
        &mut self,
        image: [usize; 2],
        kernels: &[usize],
        strides: &[usize],
        most_padding: fn(usize) -> usize,
    ) -> Window {
        let square = self.coin();
        let mut axis = |extent: usize| {
            let kernel = self.pick(kernels).min(extent);
            [kernel, self.pick(strides), self.index(most_padding(kernel) + 1)]
        };
        let rows = axis(image[0]);
        let columns = if square && rows[0] <= image[1] { rows } else { axis(image[1]) };
        let [kernel, stride, padding] = [0, 1, 2].map(|of| [rows[of], columns[of]]);
        Window { kernel, stride, padding }
    }

    /// `n` numbers between `low` and `high`.
    pub fn reals(&mut self, n: usize, low: f64, high: f64) -> Vec<f32> {
        (0..n).map(|_| self.between(low, high) as f32).collect()
    }

    /// `n` of the choices.
    pub fn picks<T: Clone>(&mut self, n: usize, choices: &[T]) -> Vec<T> {
        (0..n).map(|_| self.pick(choices)).collect()
    }

    /// `n` numbers that all differ, at least `1 / n` apart, in random order around 0.
    pub fn distinct(&mut self, n: usize) -> Vec<f32> {
        let mut values: Vec<f32> =
            (0..n).map(|i| ((i as f64 + 0.25) / n as f64 * 2.0 - 1.0) as f32).collect();
        for last in (1..n).rev() {
            values.swap(last, self.index(last + 1));
        }
        values
    }
}
