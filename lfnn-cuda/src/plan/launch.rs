//! How a launch is written down: its arguments, its blocks.

use super::{Argument, Element, Family, Launch, Place};

/// Threads of a block where nothing asks for another number.
pub(super) const THREADS: u32 = 256;

/// Blocks beyond which those of a kernel that strides over its grid take several elements: enough to fill the
/// largest GPU several times.
const MOST_BLOCKS: u32 = 2048;

impl From<Place> for Argument {
    fn from(place: Place) -> Self {
        Argument::Pointer(place)
    }
}

impl From<Option<Place>> for Argument {
    fn from(place: Option<Place>) -> Self {
        place.map_or(Argument::Null, Argument::Pointer)
    }
}

impl From<u32> for Argument {
    fn from(value: u32) -> Self {
        Argument::U32(value)
    }
}

impl From<usize> for Argument {
    /// Extents are below 2³¹: `Plan::new` refuses larger tensors.
    fn from(value: usize) -> Self {
        Argument::U32(value as u32)
    }
}

impl From<bool> for Argument {
    fn from(value: bool) -> Self {
        Argument::U32(u32::from(value))
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Argument::F32(value)
    }
}

/// Arguments of a launch, each of a type that a kernel can take.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::plan::Argument::from($value)),*]
    };
}
pub(super) use arguments;

impl Argument {
    /// A structure passed by value; `pointers` are places for its pointers, by position in bytes.
    pub(super) fn of<T: bytemuck::NoUninit>(value: &T, pointers: Vec<(usize, Place)>) -> Self {
        Argument::Struct { bytes: bytemuck::bytes_of(value).to_vec(), pointers }
    }
}

/// Blocks of [`THREADS`] threads for this many pieces of work in a kernel that strides over its grid.
pub(super) fn blocks(pieces: usize) -> u32 {
    let blocks = pieces.div_ceil(THREADS as usize).max(1);
    u32::try_from(blocks).unwrap_or(MOST_BLOCKS).min(MOST_BLOCKS)
}

impl Family {
    /// A launch of a kernel of this family over this many pieces of work, a thread each.
    pub(super) fn over(
        self,
        kernel: &'static str,
        real: Element,
        pieces: usize,
        arguments: Vec<Argument>,
    ) -> Launch {
        self.launch(kernel, real, [blocks(pieces), 1, 1], [THREADS, 1, 1], arguments)
    }

    /// A launch of a kernel of this family.
    pub(super) fn launch(
        self,
        kernel: &'static str,
        real: Element,
        grid: [u32; 3],
        block: [u32; 3],
        arguments: Vec<Argument>,
    ) -> Launch {
        Launch { family: self, real, kernel, grid, block, shared: 0, arguments }
    }
}
