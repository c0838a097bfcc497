//! Arrays in a safetensors file.

use std::path::Path;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::{ArrayValues, Arrays, StoredArray, elements};
use crate::DataError;

/// The tensors of a file, by their names.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Arrays, DataError> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| {
        DataError::format(path, "the file", format!("damaged ({error})"), "a safetensors file")
    })?;
    let mut arrays = Arrays::new();
    for (name, tensor) in file.iter() {
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::U8 | Dtype::BOOL => ArrayValues::U8(data.to_vec()),
            Dtype::U16 => ArrayValues::U16(elements(data, false, u16::from_le_bytes)),
            Dtype::U32 => whole(data, u32::from_le_bytes),
            Dtype::I8 => whole(data, i8::from_le_bytes),
            Dtype::I16 => whole(data, i16::from_le_bytes),
            Dtype::I32 => whole(data, i32::from_le_bytes),
            Dtype::I64 => whole(data, i64::from_le_bytes),
            Dtype::F16 => real(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => real(data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F32 => real(data, f32::from_le_bytes),
            Dtype::F64 => real(data, |bytes| f64::from_le_bytes(bytes) as f32),
            other => {
                let found = format!("of type {other:?}");
                let expected = "U8, U16, U32, I8, I16, I32, I64, F16, BF16, F32, F64 or BOOL";
                return Err(DataError::format(path, format!("`{name}`"), &found, expected));
            }
        };
        let (shape, name) = (tensor.shape().to_vec(), name.to_owned());
        arrays.insert(name.clone(), StoredArray { shape, values, name });
    }
    Ok(arrays)
}

fn whole<const N: usize, T: Into<i64>>(data: &[u8], decode: fn([u8; N]) -> T) -> ArrayValues {
    ArrayValues::Whole(elements(data, false, |bytes| decode(bytes).into()))
}

fn real<const N: usize>(data: &[u8], decode: impl Fn([u8; N]) -> f32) -> ArrayValues {
    ArrayValues::Real(elements(data, false, decode))
}
