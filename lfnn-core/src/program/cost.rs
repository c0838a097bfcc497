//! What an operation cannot do without: arithmetic of products, and bytes moved.

use super::{Operation, TensorId, Tensors};

/// The least that an operation takes, whatever the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiplications and additions of matrix products and convolutions; other arithmetic is small
    /// beside the bytes that it needs.
    pub flops: u64,
    /// Bytes of every tensor read, written or (twice) updated, each once, with real numbers of 4.
    pub bytes: u64,
}

impl std::ops::Add for Cost {
    type Output = Cost;

    fn add(self, other: Cost) -> Cost {
        Cost {
            flops: self.flops.saturating_add(other.flops),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), |a, b| a + b)
    }
}

impl Cost {
    /// Bytes of every tensor of an operation, and no products.
    pub(super) fn of_tensors(op: &impl Operation, tensors: &Tensors) -> Self {
        let all =
            |ids: Vec<TensorId>| ids.iter().map(|&id| tensors[id].bytes() as u64).sum::<u64>();
        Self { flops: 0, bytes: all(op.reads()) + all(op.writes()) + 2 * all(op.updates()) }
    }

    /// The same with a product in which each row of `result` meets each element of `weight` once.
    pub(super) fn with_product(
        self,
        tensors: &Tensors,
        result: TensorId,
        weight: TensorId,
    ) -> Self {
        let rows = 2 * tensors.rows(result) as u64;
        Self { flops: rows.saturating_mul(tensors[weight].len() as u64), ..self }
    }

    /// The cost of an operation that writes `batch` and reads as many elements of `table`.
    pub(super) fn with_gather(self, tensors: &Tensors, batch: TensorId, table: TensorId) -> Self {
        let read = tensors[batch].len() * tensors[table].dtype.bytes();
        Self { bytes: (tensors[batch].bytes() + read) as u64, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Add, Conv2d, Conv2dWeightGrad, DType, Linear, ProgramSet, Window};

    #[test]
    fn products_count_each_multiplication_and_addition_and_tensors_count_once() {
        let mut set = ProgramSet::new();
        let mut tensor = |name: &str, shape: &[usize]| set.persistent(name, DType::Real, shape);
        // Two images of 5×5 with 4 channels in 2 groups, 6 filters of 3×3.
        let (x, y) = (tensor("x", &[2, 5, 5, 4]), tensor("y", &[2, 3, 3, 6]));
        let (weight, bias) = (tensor("weight", &[6, 3, 3, 2]), tensor("bias", &[6]));
        let window = Window::square(3, 1, 0);
        let conv = Conv2d { x, weight, bias: Some(bias), y, window, groups: 2 };
        let multiplications = 2 * 9 * 6 * (9 * 2);
        let elements = 200 + 108 + 6 + 108;
        let expected = Cost { flops: 2 * multiplications, bytes: 4 * elements };
        assert_eq!(conv.cost(set.tensors()), expected);
        let grad = Conv2dWeightGrad { x, dy: y, dweight: weight, dbias: None, window, groups: 2 };
        assert_eq!(grad.cost(set.tensors()).flops, 2 * multiplications);

        let mut tensor = |name: &str, shape: &[usize]| set.persistent(name, DType::Real, shape);
        let (x, weight, y) = (tensor("x", &[7, 6]), tensor("w", &[4, 3]), tensor("y", &[7, 4]));
        let linear = Linear { x, weight, bias: None, y, groups: 2 };
        assert_eq!(linear.cost(set.tensors()).flops, 2 * 7 * 4 * 3);
        let sum = Add { inputs: vec![x, x], y: x };
        assert_eq!(sum.cost(set.tensors()), Cost { flops: 0, bytes: 3 * 4 * 42 });
    }
}
