//! How rows of a matrix are gone through: lanes of a warp share a row.

use super::launch::lanes;
use super::lowering::Lowering;
use super::shared::shared_with_kernels;
use super::types::{Argument, KernelFile};

shared_with_kernels! {
    structures {
        /// The rows of a matrix.
        struct MatrixRows {
            rows: u32,
            width: u32,
            /// Lanes that share a row, a power of two.
            lanes: u32,
        }
    }
}

/// Appends a launch in which lanes share rows of `width` numbers; the last argument of the kernel is their extents.
pub(super) fn by_row(
    file: KernelFile,
    kernel: &'static str,
    [rows, width]: [usize; 2],
    mut arguments: Vec<Argument>,
    to: &mut Lowering<'_>,
) {
    let lanes = lanes(width);
    let extents = MatrixRows { rows: rows as u32, width: width as u32, lanes: lanes as u32 };
    arguments.push((&extents).into());
    to.launch_1d(file, kernel, rows * lanes, arguments);
}
