//! Division by a number that is known on the host.

use super::shared::shared_with_kernels;

shared_with_kernels! {
    structures {
        /// A division that is prepared for the device: of whole numbers below 2³¹.
        ///
        /// `n / d = n · m / 2^(32 + shift)` with m = ⌈2^(32 + shift) / d⌉ and 2^(1 + shift) ≥ d (Granlund and
        /// Montgomery, 1994).
        #[derive(Eq)]
        pub(super) struct Divide {
            divisor: u32,
            /// 0 for a division by 1.
            multiplier: u32,
            shift: u32,
        }
    }
}

impl Divide {
    /// A division by `divisor`, below 2³¹; by 0 counts as by 1.
    pub(super) fn by(divisor: usize) -> Self {
        let divisor = divisor.max(1) as u32;
        if divisor == 1 {
            return Self { divisor, multiplier: 0, shift: 0 };
        }
        let shift = divisor.next_power_of_two().trailing_zeros() - 1;
        let multiplier = (1u64 << (32 + shift)).div_ceil(u64::from(divisor)) as u32;
        Self { divisor, multiplier, shift }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_divisions_are_exact() {
        let of = |divide: Divide, n: u32| match divide.multiplier {
            0 => n,
            m => ((u64::from(n) * u64::from(m)) >> 32) as u32 >> divide.shift,
        };
        for divisor in (1..300).chain([784, 1024, 40_001, 65_537, (1 << 30) + 1, (1 << 31) - 1]) {
            let divide = Divide::by(divisor);
            let divisor = divisor as u32;
            for multiple in [0, 1, 2, 3, 1000, 65_535, ((1 << 31) - 1) / divisor] {
                let at = u64::from(multiple) * u64::from(divisor);
                for n in [at.saturating_sub(1), at, at + 1, (1 << 31) - 1] {
                    if n < 1 << 31 {
                        assert_eq!(of(divide, n as u32), n as u32 / divisor, "{n} / {divisor}");
                    }
                }
            }
        }
    }
}
