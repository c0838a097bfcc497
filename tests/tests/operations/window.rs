//! Random windows that fit their image.

use lfnn_core::program::Window;
use proptest::prelude::*;

/// An image with a window that slides over it.
#[derive(Clone, Debug)]
pub(crate) struct Sliding {
    /// Height and width of the image.
    pub(crate) image: [usize; 2],
    pub(crate) window: Window,
    /// Height and width of the result.
    pub(crate) result: [usize; 2],
}

/// Sliding windows of a convolution: any padding, even more than the window.
pub(crate) fn convolved() -> impl Strategy<Value = Sliding> {
    sliding(1..10, 1..5, |_, padding| padding)
}

/// Sliding windows of a pooling: padded by at most half the window.
pub(crate) fn pooled() -> impl Strategy<Value = Sliding> {
    sliding(1..10, 1..5, |kernel, padding| padding.min(kernel / 2))
}

fn sliding(
    extent: std::ops::Range<usize>,
    kernel: std::ops::Range<usize>,
    limit: fn(usize, usize) -> usize,
) -> impl Strategy<Value = Sliding> {
    let axis = (extent, kernel, 1usize..4, 0usize..4);
    (axis.clone(), axis).prop_map(move |(rows, columns)| {
        let mut window = Window { kernel: [0; 2], stride: [0; 2], padding: [0; 2] };
        let image = [rows.0, columns.0];
        for (axis, (extent, kernel, stride, padding)) in [rows, columns].into_iter().enumerate() {
            // A window larger than the padded image is made as large as the image.
            let padding = limit(kernel, padding);
            let fits = extent + 2 * padding >= kernel;
            window.kernel[axis] = if fits { kernel } else { extent };
            window.stride[axis] = stride;
            window.padding[axis] = limit(window.kernel[axis], padding);
        }
        slide(image, window)
    })
}

/// A square image with a square window.
pub(crate) fn square(side: usize, kernel: usize, stride: usize, padding: usize) -> Sliding {
    slide([side; 2], Window::square(kernel, stride, padding))
}

/// A signal, which is an image of one row, with a window of one row.
pub(crate) fn signal(len: usize, kernel: usize, stride: usize, padding: usize) -> Sliding {
    let window = Window { kernel: [1, kernel], stride: [1, stride], padding: [0, padding] };
    slide([1, len], window)
}

fn slide(image: [usize; 2], window: Window) -> Sliding {
    Sliding { image, window, result: window.output(image).unwrap() }
}
