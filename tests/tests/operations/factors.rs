//! Tensors of products, whatever the arithmetic under test.
//!
//! In single precision factors are any numbers. In a lower one they are rounded beforehand to 8 bits that every
//! format holds: then products are exact, and an error of an index or a fragment is not hidden by a wide
//! tolerance. In half precision activations are temporary tensors, since only those are stored in 16 bits.

use lfnn_core::program::{Add, DType, TensorId};
use lfnn_cuda::Precision;
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::under_test::precision;

/// Sums of up to ten thousand products, each rounded to 6e-8 of itself; results of half precision round once more,
/// to half a unit of the 8 or 11 bits that they have (and a little more, where the sum lies near the middle of two).
pub(crate) fn sums() -> Tolerance {
    let result = match precision() {
        Precision::F32 | Precision::Tf32 => 0.0,
        Precision::Bf16 => 2f64.powi(-8) * 1.01,
        Precision::F16 => 2f64.powi(-11) * 1.01,
    };
    Tolerance { element: result, ..Tolerance::sums(4e-6) }
}

fn is_half() -> bool {
    matches!(precision(), Precision::Bf16 | Precision::F16)
}

/// A factor that is a parameter.
pub(crate) fn parameter(case: &mut Case, name: &str, shape: &[usize]) -> TensorId {
    if precision() == Precision::F32 {
        return case.input(name, shape);
    }
    let values = case.source.reals(shape.iter().product(), -1.0, 1.0);
    // Multiples of 1/128 up to 1 have 8 bits at most, and f16 holds them too.
    let values = values.into_iter().map(|x| (x * 128.0).round() / 128.0).collect();
    case.real(name, shape, values)
}

/// What a tensor is added to when it is copied to and from half precision.
fn zeros(case: &mut Case, name: &str, shape: &[usize]) -> TensorId {
    case.real(&format!("zeros for {name}"), shape, vec![0.0; shape.iter().product()])
}

/// A factor that is an activation.
pub(crate) fn activation(case: &mut Case, name: &str, shape: &[usize]) -> TensorId {
    let x = parameter(case, name, shape);
    if !is_half() {
        return x;
    }
    let copy = case.temporary(&format!("{name} in half"), DType::Real, shape);
    let zero = zeros(case, name, shape);
    case.push(Add { inputs: vec![x, zero], y: copy });
    copy
}

/// A result that is an activation: where to write it, and what to call when it is written.
pub(crate) fn result(
    case: &mut Case,
    name: &str,
    shape: &[usize],
) -> (TensorId, impl FnOnce(&mut Case) + use<>) {
    let y = case.output(name, shape);
    let half = is_half().then(|| case.temporary(&format!("{name} in half"), DType::Real, shape));
    let zero = half.map(|_| zeros(case, name, shape));
    let then = move |case: &mut Case| {
        if let (Some(half), Some(zero)) = (half, zero) {
            case.push(Add { inputs: vec![half, zero], y });
        }
    };
    (half.unwrap_or(y), then)
}
