//! The host's data as bytes.

use lfnn_core::backend::{TensorData, TensorDataMut};
use lfnn_core::program::DType;

/// The type of some data, how many elements they are, and their bytes.
pub(crate) fn bytes(data: TensorData<'_>) -> (DType, usize, &[u8]) {
    match data {
        TensorData::Real(data) => (DType::Real, data.len(), bytemuck::cast_slice(data)),
        TensorData::U32(data) => (DType::U32, data.len(), bytemuck::cast_slice(data)),
        TensorData::U8(data) => (DType::U8, data.len(), data),
    }
}

/// The same, to be written.
pub(crate) fn bytes_mut(data: TensorDataMut<'_>) -> (DType, usize, &mut [u8]) {
    match data {
        TensorDataMut::Real(data) => (DType::Real, data.len(), bytemuck::cast_slice_mut(data)),
        TensorDataMut::U32(data) => (DType::U32, data.len(), bytemuck::cast_slice_mut(data)),
        TensorDataMut::U8(data) => (DType::U8, data.len(), data),
    }
}
