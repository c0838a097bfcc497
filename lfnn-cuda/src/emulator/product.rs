//! Matrix products by plain loops, in place of the vendor's library.

use half::{bf16, f16};

use crate::plan::{Address, Element, Matrix, Product};

/// Runs a product; `resolve` gives a pointer to an address and the bytes from there on.
///
/// # Safety
/// What `resolve` gives is valid for the product: nothing else uses it, and the memory behind a
/// pointer has the bytes given.
pub(super) unsafe fn run(product: &Product, mut resolve: impl FnMut(Address) -> (*mut u8, usize)) {
    let mut bind = |matrix: &Matrix| {
        let (start, bytes) = resolve(matrix.address);
        View { matrix: *matrix, start, bytes }
    };
    let (a, b, d) = (bind(&product.a), bind(&product.b), bind(&product.d));
    let bias = product.bias.map(|address| {
        let (start, bytes) = resolve(address);
        let stack_stride = product.columns;
        let matrix = Matrix {
            address,
            element: Element::F32,
            row_stride: 0,
            stack_stride,
            transposed: false,
        };
        View { matrix, start, bytes }
    });
    let round = |x: f32| if product.tf32 { to_tf32(x) } else { x };
    for stack in 0..product.stack {
        for row in 0..product.rows {
            for column in 0..product.columns {
                let mut sum = 0.0;
                for inner in 0..product.inner {
                    // SAFETY: the caller's promise; `View::at` checks the bounds.
                    let (a, b) = unsafe { (a.get(stack, row, inner), b.get(stack, inner, column)) };
                    sum += round(a) * round(b);
                }
                if let Some(bias) = &bias {
                    // SAFETY: as above.
                    sum += unsafe { bias.get(stack, 0, column) };
                }
                // SAFETY: as above.
                unsafe { d.set(stack, row, column, sum) };
            }
        }
    }
}

/// Rounds to 10 bits of mantissa.
fn to_tf32(x: f32) -> f32 {
    if !x.is_finite() {
        return x;
    }
    let bits = x.to_bits();
    f32::from_bits(bits.wrapping_add(0x0FFF + (bits >> 13 & 1)) & !0x1FFF)
}

struct View {
    matrix: Matrix,
    start: *mut u8,
    bytes: usize,
}

impl View {
    /// The address of an element of the factor, after transposition.
    fn at(&self, stack: usize, row: usize, column: usize) -> *mut u8 {
        let m = &self.matrix;
        let (row, column) = if m.transposed { (column, row) } else { (row, column) };
        let size = m.element.bytes();
        let offset = (stack * m.stack_stride + row * m.row_stride + column) * size;
        assert!(offset + size <= self.bytes, "a product outside its memory");
        self.start.wrapping_add(offset)
    }

    unsafe fn get(&self, stack: usize, row: usize, column: usize) -> f32 {
        let at = self.at(stack, row, column);
        // SAFETY: within the memory, as `at` checks, and any bytes are a number.
        unsafe {
            match self.matrix.element {
                Element::F32 => at.cast::<f32>().read_unaligned(),
                Element::Bf16 => at.cast::<bf16>().read_unaligned().to_f32(),
                Element::F16 => at.cast::<f16>().read_unaligned().to_f32(),
                other => panic!("a product of {other:?}"),
            }
        }
    }

    unsafe fn set(&self, stack: usize, row: usize, column: usize, value: f32) {
        let at = self.at(stack, row, column);
        // SAFETY: as in `get`.
        unsafe {
            match self.matrix.element {
                Element::F32 => at.cast::<f32>().write_unaligned(value),
                Element::Bf16 => at.cast::<bf16>().write_unaligned(bf16::from_f32(value)),
                Element::F16 => at.cast::<f16>().write_unaligned(f16::from_f32(value)),
                other => panic!("a product of {other:?}"),
            }
        }
    }
}
