//! How close the results of two backends must be.

use lfnn_cuda::Precision;

/// The contents of a tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Contents {
    /// Real numbers.
    Real(Vec<f32>),
    /// Whole numbers.
    Whole(Vec<u32>),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// How far a real number may lie from the reference:
/// `element · |reference| + tensor · m + absolute`, where m is the largest finite absolute value of
/// the reference tensor. Whole numbers and bytes are always equal.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Relative to the element: rounding of the result.
    pub element: f64,
    /// Relative to the tensor: rounding of sums, of which some cancel.
    pub tensor: f64,
    /// Rounding of summands of the size of 1 that cancel in every element.
    pub absolute: f64,
}

impl Tolerance {
    /// Every bit is the same: nothing is computed, or nothing that rounds.
    pub const EXACT: Self = Self { element: 0.0, tensor: 0.0, absolute: 0.0 };

    /// A tolerance relative to each element.
    pub const fn element(element: f64) -> Self {
        Self { element, ..Self::EXACT }
    }

    /// A tolerance for sums of products of numbers of the size of 1.
    pub const fn sums(tolerance: f64) -> Self {
        Self { tensor: tolerance, absolute: tolerance, ..Self::EXACT }
    }

    /// What is allowed where operands and results are rounded to this precision: some four roundings more.
    pub fn in_precision(self, precision: Precision) -> Self {
        let rounding = match precision {
            Precision::F32 | Precision::Tf32 => return self,
            Precision::Bf16 => 1.0 / 256.0,
            Precision::F16 => 1.0 / 2048.0,
        };
        let more = |tolerance: f64| tolerance + 4.0 * rounding;
        Self {
            element: more(self.element),
            tensor: more(self.tensor),
            absolute: more(self.absolute),
        }
    }

    /// Checks that `actual` is close enough to `reference`.
    ///
    /// # Errors
    /// A sentence that names the first element that is not.
    pub fn check(self, name: &str, actual: &Contents, reference: &Contents) -> Result<(), String> {
        match (actual, reference) {
            (Contents::Real(actual), Contents::Real(reference)) => {
                self.check_real(name, actual, reference)
            }
            _ if actual == reference => Ok(()),
            _ => Err(format!("`{name}` is {actual:?}, expected {reference:?}")),
        }
    }

    fn check_real(self, name: &str, actual: &[f32], reference: &[f32]) -> Result<(), String> {
        let finite = reference.iter().filter(|value| value.is_finite());
        let largest = f64::from(finite.fold(0.0f32, |largest, value| largest.max(value.abs())));
        for (i, (&a, &r)) in actual.iter().zip(reference).enumerate() {
            let same = a == r || (a.is_nan() && r.is_nan());
            let (a, r) = (f64::from(a), f64::from(r));
            let allowed = self.element * r.abs() + self.tensor * largest + self.absolute;
            // Infinite and NaN values are equal or wrong; no tolerance covers them.
            let close = a.is_finite() && r.is_finite() && (a - r).abs() <= allowed;
            if !same && !close {
                return Err(format!(
                    "`{name}`[{i}] of {} is {a}, expected {r} (off by {:e}, allowed {allowed:e})",
                    reference.len(),
                    (a - r).abs()
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(values: &[f32]) -> Contents {
        Contents::Real(values.to_vec())
    }

    #[test]
    fn a_tolerance_allows_what_it_says_and_nothing_else() {
        let tolerance = Tolerance { element: 0.1, tensor: 0.01, absolute: 0.0 };
        assert!(tolerance.check("x", &real(&[1.1, 10.0]), &real(&[1.0, 10.0])).is_ok());
        assert!(tolerance.check("x", &real(&[1.3, 10.0]), &real(&[1.0, 10.0])).is_err());
        assert!(tolerance.check("x", &real(&[f32::NAN]), &real(&[f32::NAN])).is_ok());
        assert!(tolerance.check("x", &real(&[f32::NAN]), &real(&[1.0])).is_err());
        assert!(tolerance.check("x", &real(&[1.0]), &real(&[f32::NAN])).is_err());
        assert!(tolerance.check("x", &real(&[f32::INFINITY]), &real(&[f32::INFINITY])).is_ok());
        assert!(tolerance.check("x", &real(&[1e30]), &real(&[f32::INFINITY])).is_err());
    }

    #[test]
    fn whole_numbers_are_compared_exactly() {
        let tolerance = Tolerance::element(1.0);
        assert!(
            tolerance.check("x", &Contents::Whole(vec![3]), &Contents::Whole(vec![4])).is_err()
        );
        assert!(tolerance.check("x", &Contents::Bytes(vec![3]), &Contents::Bytes(vec![3])).is_ok());
    }
}
