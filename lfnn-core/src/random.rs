//! Counter-based random numbers: Philox 4×32-10 (Salmon et al., SC 2011).
//!
//! A draw is a pure function of (seed, purpose, epoch, step, index), so it does not depend on the
//! number of threads, on the backend, or on whether a run was interrupted. Every backend computes
//! the same 32-bit words; only what is made of them (a normal variate, say) may differ in rounding.

/// What a stream of random numbers is for. Streams of different purposes never overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Initial values of a parameter.
    Init,
    /// Order of the training examples.
    Shuffle,
    /// Crop, flip and cutout of one example.
    Augment,
    /// Dropout masks.
    Dropout,
    /// The random leader that followers align with (`reference: random`).
    Reference,
    /// Directions of forward gradients.
    Perturbation,
    /// Which training examples are held out for validation.
    Split,
    /// The fixed permutation of pixels.
    PixelPermutation,
    /// Feedback matrices: in place of weights, or from the output's error to a unit.
    Feedback,
}

impl Purpose {
    /// The number that stands for the purpose in a [`Stream`]; part of the file format of runs.
    pub const fn code(self) -> u32 {
        match self {
            Purpose::Init => 1,
            Purpose::Shuffle => 2,
            Purpose::Augment => 3,
            Purpose::Dropout => 4,
            Purpose::Reference => 5,
            Purpose::Perturbation => 6,
            Purpose::Split => 7,
            Purpose::PixelPermutation => 8,
            Purpose::Feedback => 9,
        }
    }
}

/// A stream of random words: a purpose and a number that tells its uses apart (the layer, say).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    /// What the numbers are for.
    pub purpose: Purpose,
    /// Which of the uses with this purpose; less than 2²⁴.
    pub number: u32,
}

impl Stream {
    /// The stream with this purpose and number.
    ///
    /// # Panics
    /// If `number` is 2²⁴ or more.
    pub fn new(purpose: Purpose, number: u32) -> Self {
        assert!(number < 1 << 24, "a stream's number has 24 bits");
        Self { purpose, number }
    }

    /// Both in one word: the last word of the Philox counter.
    pub fn word(self) -> u32 {
        self.purpose.code() << 24 | self.number
    }

    /// Four random words: block `block` of the stream at (`seed`, `epoch`, `step`).
    #[inline]
    pub fn block(self, seed: u64, epoch: u32, step: u32, block: u32) -> [u32; 4] {
        philox([block, step, epoch, self.word()], [seed as u32, (seed >> 32) as u32])
    }

    /// The first, second, third and fourth words of `N` blocks from `first` on.
    #[inline(always)]
    pub fn blocks<const N: usize>(
        self,
        seed: u64,
        epoch: u32,
        step: u32,
        first: u32,
    ) -> [[u32; N]; 4] {
        let mut blocks = [first; N];
        for (i, block) in blocks.iter_mut().enumerate() {
            *block = block.wrapping_add(i as u32);
        }
        let counters = [blocks, [step; N], [epoch; N], [self.word(); N]];
        philox_each(counters, [seed as u32, (seed >> 32) as u32])
    }

    /// Word `index` of the stream at (`seed`, `epoch`, `step`): word `index % 4` of block `index / 4`.
    #[inline]
    pub fn at(self, seed: u64, epoch: u32, step: u32, index: u32) -> u32 {
        self.block(seed, epoch, step, index / 4)[(index % 4) as usize]
    }
}

/// Ten rounds of Philox 4×32 on a counter and a key.
#[inline]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    philox_each(counter.map(|word| [word]), key).map(|[word]| word)
}

/// [`philox`] of `N` counters with one key, word by word: a loop that a compiler makes vectors of. It has no closures,
/// which would not be inlined into functions with instructions of their own.
#[inline(always)]
fn philox_each<const N: usize>(counters: [[u32; N]; 4], mut key: [u32; 2]) -> [[u32; N]; 4] {
    // In words of 64 bits, so that a product fills its lane.
    let mut wide = [[0u64; N]; 4];
    for (wide, words) in wide.iter_mut().zip(&counters) {
        for (wide, word) in wide.iter_mut().zip(words) {
            *wide = u64::from(*word);
        }
    }
    const LOW: u64 = 0xFFFF_FFFF;
    for round in 0..10 {
        if round > 0 {
            key[0] = key[0].wrapping_add(0x9E37_79B9);
            key[1] = key[1].wrapping_add(0xBB67_AE85);
        }
        let [c0, c1, c2, c3] = &mut wide;
        for i in 0..N {
            let a = (c0[i] & LOW) * 0xD251_1F53;
            let b = (c2[i] & LOW) * 0xCD9E_8D57;
            c0[i] = (b >> 32) ^ c1[i] ^ u64::from(key[0]);
            c1[i] = b & LOW;
            c2[i] = (a >> 32) ^ c3[i] ^ u64::from(key[1]);
            c3[i] = a & LOW;
        }
    }
    let mut result = [[0; N]; 4];
    for (words, wide) in result.iter_mut().zip(&wide) {
        for (word, wide) in words.iter_mut().zip(wide) {
            *word = *wide as u32;
        }
    }
    result
}

/// A number in [0, 1) from the upper 24 bits of a word; exact in `f32`.
#[inline]
pub fn unit(word: u32) -> f64 {
    f64::from(word >> 8) / f64::from(1u32 << 24)
}

/// A whole number in `0..n` from a word (multiply-shift; the bias is below n / 2³²).
#[inline]
pub fn below(word: u32, n: u32) -> u32 {
    ((u64::from(word) * u64::from(n)) >> 32) as u32
}

/// Two independent standard normal variates from two words (Box–Muller).
#[inline]
pub fn normal_pair(a: u32, b: u32) -> [f64; 2] {
    let radius = (-2.0 * (1.0 - unit(a)).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * unit(b)).sin_cos();
    [radius * cos, radius * sin]
}

/// A permutation of `0..n`, drawn from the stream at (`seed`, `epoch`) by a Fisher–Yates shuffle.
pub fn permutation(stream: Stream, seed: u64, epoch: u32, n: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n).collect();
    for last in (1..n).rev() {
        let chosen = below(stream.at(seed, epoch, 0, last), last + 1);
        order.swap(last as usize, chosen as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers from the authors' Random123 distribution (`kat_vectors`, philox 4×32, 10 rounds).
    #[test]
    fn philox_gives_the_published_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn blocks_are_those_of_one_after_the_other() {
        let stream = Stream::new(Purpose::Dropout, 3);
        let words = stream.blocks::<5>(1 << 40, 2, 3, u32::MAX - 1);
        for i in 0..5 {
            let block = stream.block(1 << 40, 2, 3, (u32::MAX - 1).wrapping_add(i));
            assert_eq!(words.map(|word| word[i as usize]), block);
        }
    }

    #[test]
    fn a_permutation_holds_every_index_once_and_depends_on_each_key() {
        let stream = Stream::new(Purpose::Shuffle, 0);
        let order = permutation(stream, 7, 3, 1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        assert_ne!(order, permutation(stream, 8, 3, 1000));
        assert_ne!(order, permutation(stream, 7, 4, 1000));
        assert_ne!(order, permutation(Stream::new(Purpose::Shuffle, 1), 7, 3, 1000));
        assert_eq!(order, permutation(stream, 7, 3, 1000));
    }

    #[test]
    fn normal_variates_have_the_moments_of_a_standard_normal() {
        let stream = Stream::new(Purpose::Perturbation, 0);
        let n = 40_000;
        let draws: Vec<f64> = (0..n / 2)
            .flat_map(|i| {
                let words = stream.block(1, 0, 0, i);
                normal_pair(words[0], words[1])
            })
            .collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        let fourth = draws.iter().map(|x| x.powi(4)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.03, "{variance}");
        assert!((fourth - 3.0).abs() < 0.2, "{fourth}");
    }
}
