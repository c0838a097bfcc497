//! Which tiles a product of our own is cut into, and into how many parts its inner axis.
//!
//! The choice is made by an estimate of the time on an H100, whatever the device: results must not depend on
//! where they are computed. It is a function of the shape alone.

use super::shared::shared_with_kernels;
use super::types::Element;

shared_with_kernels! {
    constants {
        /// Bytes of the inner axis that a block takes in one step.
        const STEP_BYTES: usize = 64;
        /// Steps whose tiles a block has in shared memory: copies run two steps ahead of the arithmetic.
        const STAGES: usize = 3;
        /// Bytes of an entry of a block's table.
        const POSITION_BYTES: usize = 16;
    }
}

/// Parts of an inner axis, at most.
const MOST_PARTS: usize = 512;
/// Bytes of the sums of parts, at most.
const MOST_PART_BYTES: usize = 64 << 20;

/// Which loads of a kernel move 16 bytes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loads {
    /// Those of both factors.
    Both,
    /// Those of the first factor only.
    First,
    /// None: any shape will do.
    Neither,
}

/// What multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// Threads, in f32.
    Scalar,
    /// Tensor cores.
    Tensor,
}
use Engine::{Scalar, Tensor};

/// A kernel with its tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) kernel: &'static str,
    pub(super) rows: usize,
    columns: usize,
    /// Rows and columns of one thread, or on tensor cores of one warp.
    part: [usize; 2],
    engine: Engine,
    loads: Loads,
    /// Blocks of a multiprocessor for which the compiler leaves registers: as many as no kernel has to spill for, but
    /// of the largest tile on tensor cores. Alone, a block of that does not hide its latencies, and took 10 to 22 %
    /// longer on an H200; two cost eight to sixty bytes before Hopper.
    resident: u32,
}

const fn tile(
    kernel: &'static str,
    [rows, columns]: [usize; 2],
    part: [usize; 2],
    engine: Engine,
    loads: Loads,
    resident: u32,
) -> Tile {
    Tile { kernel, rows, columns, part, engine, loads, resident }
}

/// Tiles whose rows are pixels, with the first word of their kernels' names; `$any` are the blocks of the largest tile
/// that takes any shape.
macro_rules! pixel_tiles {
    ($name:literal, $any:literal) => {
        &[
            tile(concat!($name, "_128x64"), [128, 64], [8, 8], Scalar, Loads::Both, 3),
            tile(concat!($name, "_128x40"), [128, 40], [8, 5], Scalar, Loads::Both, 3),
            tile(concat!($name, "_64x16"), [64, 16], [4, 2], Scalar, Loads::Both, 5),
            tile(concat!($name, "_128x64_any"), [128, 64], [8, 8], Scalar, Loads::Neither, $any),
            tile(concat!($name, "_128x40_any"), [128, 40], [8, 5], Scalar, Loads::Neither, 3),
            tile(concat!($name, "_64x16_any"), [64, 16], [4, 2], Scalar, Loads::Neither, 5),
            tile(concat!($name, "_mma_128x128"), [128, 128], [64, 32], Tensor, Loads::Both, 2),
            tile(concat!($name, "_mma_128x64"), [128, 64], [64, 32], Tensor, Loads::Both, 3),
            tile(concat!($name, "_mma_128x40"), [128, 40], [32, 40], Tensor, Loads::Both, 3),
            tile(concat!($name, "_mma_64x16"), [64, 16], [16, 16], Tensor, Loads::Both, 5),
            tile(concat!($name, "_mma_128x64_any"), [128, 64], [64, 32], Tensor, Loads::Neither, 3),
            tile(concat!($name, "_mma_128x40_any"), [128, 40], [32, 40], Tensor, Loads::Neither, 3),
            tile(concat!($name, "_mma_64x16_any"), [64, 16], [16, 16], Tensor, Loads::Neither, 5),
        ]
    };
}

/// Kernels of convolutions.
pub(super) const FORWARD: &[Tile] = pixel_tiles!("conv", 2);

/// Kernels of input gradients.
pub(super) const INPUT_GRAD: &[Tile] = pixel_tiles!("grad", 3);

/// Kernels of weight gradients.
pub(super) const WEIGHT_GRAD: &[Tile] = &[
    tile("weight_128x64", [128, 64], [8, 8], Scalar, Loads::Both, 3),
    tile("weight_64x64", [64, 64], [8, 4], Scalar, Loads::Both, 4),
    tile("weight_64x16", [64, 16], [4, 2], Scalar, Loads::Both, 5),
    tile("weight_64x64_first", [64, 64], [8, 4], Scalar, Loads::First, 4),
    tile("weight_64x16_first", [64, 16], [4, 2], Scalar, Loads::First, 5),
    tile("weight_64x64_any", [64, 64], [8, 4], Scalar, Loads::Neither, 4),
    tile("weight_64x16_any", [64, 16], [4, 2], Scalar, Loads::Neither, 5),
    tile("weight_mma_128x128", [128, 128], [64, 32], Tensor, Loads::Both, 2),
    tile("weight_mma_128x64", [128, 64], [64, 32], Tensor, Loads::Both, 2),
    tile("weight_mma_64x64", [64, 64], [32, 32], Tensor, Loads::Both, 4),
    tile("weight_mma_64x16", [64, 16], [16, 16], Tensor, Loads::Both, 5),
    tile("weight_mma_64x64_first", [64, 64], [32, 32], Tensor, Loads::First, 4),
    tile("weight_mma_64x16_first", [64, 16], [16, 16], Tensor, Loads::First, 5),
    tile("weight_mma_64x64_any", [64, 64], [32, 32], Tensor, Loads::Neither, 4),
    tile("weight_mma_64x16_any", [64, 16], [16, 16], Tensor, Loads::Neither, 5),
];

/// The kernels of `conv.cu`.
pub(crate) fn forward_kernels() -> String {
    FORWARD.iter().map(|tile| tile.kernel_of("forward", tile.loads.first())).collect()
}

/// The kernels of `conv_input_grad.cu`.
pub(crate) fn input_grad_kernels() -> String {
    INPUT_GRAD.iter().map(|tile| tile.kernel_of("input_grad", tile.loads.first())).collect()
}

/// The kernels of `conv_weight_grad.cu`.
pub(crate) fn weight_grad_kernels() -> String {
    let loads = |tile: &Tile| format!("{}, {}", tile.loads.first(), tile.loads.second());
    WEIGHT_GRAD.iter().map(|tile| tile.kernel_of("weight_grad", &loads(tile))).collect()
}

/// A product that is to be cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extents {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) inner: usize,
    /// Independent products in one launch.
    pub(super) copies: usize,
    /// Numbers of all results.
    pub(super) results: usize,
}

/// How a product is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    pub(super) tile: Tile,
    pub(super) row_tiles: usize,
    pub(super) column_tiles: usize,
    /// Parts of the inner axis.
    pub(super) parts: usize,
    /// Steps of a part.
    pub(super) steps: usize,
    /// Its estimate, in cycles.
    cycles: f64,
}

impl Cut {
    /// Blocks of the launch.
    pub(super) fn blocks(&self, copies: usize) -> usize {
        self.row_tiles * self.column_tiles * self.parts * copies
    }

    /// The fastest cut by the estimate; the first of equals.
    pub(super) fn choose(
        tiles: &[Tile],
        engine: Engine,
        loads: Loads,
        of: Extents,
        act: Element,
    ) -> Self {
        let fits = |tile: &&Tile| tile.engine == engine && tile.loads == loads;
        let fitting: Vec<Tile> = tiles.iter().filter(fits).copied().collect();
        let mut best: Option<Self> = None;
        for &tile in only_forced(&fitting) {
            for parts in counts_of_parts() {
                let cut = Self::new(tile, parts, of, act);
                let fits = cut.parts * of.results * size_of::<f32>() <= MOST_PART_BYTES;
                let better = best.is_none_or(|best| cut.cycles < best.cycles);
                if better && (cut.parts == 1 || fits) {
                    best = Some(cut);
                }
                // More parts than steps are no further cut.
                if cut.parts < parts {
                    break;
                }
            }
        }
        // Every table has a tile for every kind of loads.
        best.unwrap_or_else(|| Self::new(tiles[0], 1, of, act))
    }

    fn new(tile: Tile, parts: usize, of: Extents, act: Element) -> Self {
        let step = STEP_BYTES / act.bytes();
        let all_steps = of.inner.div_ceil(step).max(1);
        let steps = all_steps.div_ceil(parts);
        let mut cut = Self {
            tile,
            row_tiles: of.rows.div_ceil(tile.rows).max(1),
            column_tiles: of.columns.div_ceil(tile.columns).max(1),
            parts: all_steps.div_ceil(steps),
            steps,
            cycles: 0.0,
        };
        cut.cycles = cut.estimate(of, act);
        cut
    }

    /// Cycles of an H100 that the product takes: those of the multiprocessor with the most blocks.
    fn estimate(&self, of: Extents, act: Element) -> f64 {
        const MULTIPROCESSORS: usize = 132;
        /// Until a block's first product and after its last one.
        const ENDS: f64 = 1500.0;
        /// Of a step besides the arithmetic: barrier, addresses, latencies.
        const STEP: f64 = 120.0;
        /// Bytes of device memory for each multiprocessor.
        const BYTES: f64 = 12.0;
        /// The start of a second launch.
        const LAUNCH: f64 = 3500.0;
        let resident = (512 / self.tile.threads()) as usize;
        let work = self.tile.cycles_of_step(act);
        // A block alone does not hide its latencies: half the rate.
        let alone = self.steps as f64 * (2.0 * work + STEP) + ENDS;
        let blocks = self.blocks(of.copies).div_ceil(MULTIPROCESSORS);
        let together = blocks as f64 * self.steps as f64 * work;
        let product = together.max(blocks.div_ceil(resident) as f64 * alone);
        if self.parts == 1 {
            return product;
        }
        let bytes = ((2 * self.parts + 1) * of.results * size_of::<f32>()) as f64;
        product + LAUNCH + bytes / BYTES / MULTIPROCESSORS as f64
    }
}

#[cfg(feature = "emulator")]
thread_local! {
    static FORCED: std::cell::Cell<Option<usize>> = const { std::cell::Cell::new(None) };
}

/// Has this thread's plans take the tile of this number among those that fit, whatever the estimate says, so that
/// tests reach every kernel with small products.
#[cfg(feature = "emulator")]
pub fn force_tile(number: Option<usize>) {
    FORCED.set(number);
}

/// The tiles that may be chosen.
fn only_forced(tiles: &[Tile]) -> &[Tile] {
    #[cfg(feature = "emulator")]
    if let Some(number) = FORCED.get().filter(|_| !tiles.is_empty()) {
        return std::slice::from_ref(&tiles[number % tiles.len()]);
    }
    tiles
}

/// 1, 2, 3, 4, 6, 8, 12 … parts.
fn counts_of_parts() -> impl Iterator<Item = usize> {
    let powers = (0..).map(|power| 1usize << power);
    powers
        .flat_map(|power| [Some(power), (power > 1).then_some(power / 2 * 3)])
        .flatten()
        .take_while(|&parts| parts <= MOST_PARTS)
}

impl Loads {
    /// Elements of the first factor that a load moves.
    fn first(self) -> &'static str {
        if self == Loads::Neither { "1" } else { "PACK" }
    }

    /// The same of the second factor.
    fn second(self) -> &'static str {
        if self == Loads::Both { "PACK" } else { "1" }
    }
}

impl Tile {
    /// Its kernel: an instance of a template that has the elements of a load and the engine as parameters.
    fn kernel_of(&self, template: &str, loads: &str) -> String {
        let Self { kernel, rows, columns, part: [down, across], resident, .. } = self;
        let (threads, guard, engine) = match self.engine {
            Scalar => {
                (self.threads(), "ACT_F32", format!("Scalar<{rows}, {columns}, {down}, {across}>"))
            }
            Tensor => {
                let [down, across] = [rows / down, columns / across];
                (
                    self.threads(),
                    "TENSOR_CORES",
                    format!("Tensor<{rows}, {columns}, {down}, {across}>"),
                )
            }
        };
        format!(
            "#if defined({guard})\n\
             extern \"C\" __global__ void __launch_bounds__({threads}, {resident}) {kernel}(ARGUMENTS) {{\n\
             {template}<{loads}, {engine}>(VALUES);\n}}\n\
             #endif\n"
        )
    }

    /// Threads of a block.
    pub(super) fn threads(&self) -> u32 {
        let parts = self.rows / self.part[0] * (self.columns / self.part[1]);
        match self.engine {
            Scalar => parts as u32,
            Tensor => 32 * parts as u32,
        }
    }

    /// Cycles of a multiprocessor for a step of one block: arithmetic, reads of shared memory or copies from
    /// the second-level cache, whichever takes longest.
    fn cycles_of_step(&self, act: Element) -> f64 {
        /// Bytes that come from the cache in a cycle.
        const CACHE: f64 = 28.0;
        // Products in a cycle; of `mma.sync`, about 0.6 of what the chip can.
        let rate = match (self.engine, act) {
            (Scalar, _) => 110.0,
            (Tensor, Element::F32) => 640.0,
            (Tensor, _) => 1280.0,
        };
        let step = STEP_BYTES / act.bytes();
        let arithmetic = (self.rows * self.columns * step) as f64 / rate;
        let lines = (self.part[0] + self.part[1]) as f64;
        let shared = match self.engine {
            // A warp reads 16 bytes of every row and column at a time: four times a step, two cycles each.
            Scalar => f64::from(self.threads() / 32) * lines * 8.0,
            // A warp reads 64 bytes of each, 128 in a cycle.
            Tensor => f64::from(self.threads() / 32) * lines / 2.0,
        };
        let copies = ((self.rows + self.columns) * STEP_BYTES) as f64 / CACHE;
        arithmetic.max(shared).max(copies)
    }

    /// Bytes of shared memory, with a table of `positions`.
    fn shared(&self, inner: [bool; 2], act: Element, positions: usize) -> u32 {
        let pack = act.pack();
        let step = STEP_BYTES / act.bytes();
        let elements = |inner: bool, extent: usize| {
            let packs = extent / pack;
            match inner {
                true => extent * (step / pack + 1) * pack,
                false if act == Element::F32 => step * (packs + (6 - packs % 4) % 4) * pack,
                false => step * (packs | 1) * pack,
            }
        };
        let stage =
            (elements(inner[0], self.rows) + elements(inner[1], self.columns)) * act.bytes();
        (STAGES * stage + positions * POSITION_BYTES) as u32
    }

    /// Bytes of shared memory of a kernel with a table of its rows; the inner axes of the factors are
    /// contiguous or not.
    pub(super) fn shared_with_rows(&self, inner: [bool; 2], act: Element) -> u32 {
        self.shared(inner, act, self.rows)
    }

    /// The same with a table of its columns.
    pub(super) fn shared_with_columns(&self, inner: [bool; 2], act: Element) -> u32 {
        self.shared(inner, act, self.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_cover_the_product_and_fill_the_gpu() {
        let weight_of_first_layer =
            Extents { rows: 40, columns: 9, inner: 128 * 784, copies: 1, results: 400 };
        let loads = Loads::First;
        let cut = Cut::choose(WEIGHT_GRAD, Scalar, loads, weight_of_first_layer, Element::F32);
        assert!(cut.blocks(1) >= 132, "{cut:?}");
        for rows in [1, 100, 1152, 131_072] {
            for columns in [1, 10, 40, 240] {
                for inner in [1, 27, 2160] {
                    let of = Extents { rows, columns, inner, copies: 1, results: rows * columns };
                    let cut = Cut::choose(FORWARD, Tensor, Loads::Both, of, Element::Bf16);
                    assert!(cut.row_tiles * cut.tile.rows >= rows);
                    assert!(cut.column_tiles * cut.tile.columns >= columns);
                    assert!(cut.parts * cut.steps * 32 >= inner);
                    assert!((cut.parts - 1) * cut.steps * 32 < inner, "an empty part: {cut:?}");
                }
            }
        }
    }

    #[test]
    fn large_products_take_large_tiles_and_small_ones_are_cut_in_parts() {
        let of = |rows, columns, inner| Extents {
            rows,
            columns,
            inner,
            copies: 1,
            results: rows * columns,
        };
        let large = of(1024 * 256, 128, 576);
        let cut = Cut::choose(FORWARD, Scalar, Loads::Both, large, Element::F32);
        assert_eq!((cut.tile.kernel, cut.parts), ("conv_128x64", 1));
        let cut = Cut::choose(FORWARD, Tensor, Loads::Both, large, Element::F32);
        assert_eq!((cut.tile.kernel, cut.parts), ("conv_mma_128x128", 1));
        // A readout, and images of 3 × 3 pixels: a few tiles, so that the inner axis is cut.
        for small in [of(128, 10, 1920), of(1152, 120, 1080)] {
            for engine in [Scalar, Tensor] {
                let cut = Cut::choose(FORWARD, engine, Loads::Both, small, Element::F32);
                // The readout has two rows of tiles. In more than fifteen parts, writing their sums and
                // reading them again would take longer than the shorter parts save.
                assert!(cut.parts > 1 && cut.blocks(1) >= 2 * 15, "{cut:?}");
            }
        }
    }

    #[test]
    fn every_tile_fits_the_shared_memory_of_every_chip() {
        for act in [Element::F32, Element::Bf16] {
            for tile in FORWARD {
                assert!(tile.shared_with_rows([true, true], act) <= 64 << 10, "{tile:?}");
            }
            for tile in INPUT_GRAD {
                assert!(tile.shared_with_rows([true, false], act) <= 64 << 10, "{tile:?}");
            }
            for tile in WEIGHT_GRAD {
                assert!(tile.shared_with_columns([false, false], act) <= 64 << 10, "{tile:?}");
            }
        }
    }
}
