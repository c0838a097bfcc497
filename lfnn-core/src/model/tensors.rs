//! Tensors to safetensors bytes and back.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView};

use super::ModelError;
use crate::train::{StateData, StateTensor};

/// A tensor as a file holds it.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) name: &'a str,
    pub(super) dtype: Dtype,
    pub(super) shape: &'a [usize],
    pub(super) bytes: Cow<'a, [u8]>,
}

/// Tensors as a file holds them, in the order of their names.
pub(super) fn parts(tensors: &[StateTensor]) -> Vec<Part<'_>> {
    fn part(StateTensor { name, shape, data }: &StateTensor) -> Part<'_> {
        let (dtype, bytes): (_, Vec<u8>) = match data {
            StateData::Real(data) => {
                (Dtype::F32, data.iter().flat_map(|x| x.to_le_bytes()).collect())
            }
            StateData::U32(data) => {
                (Dtype::U32, data.iter().flat_map(|x| x.to_le_bytes()).collect())
            }
        };
        Part { name, dtype, shape, bytes: bytes.into() }
    }
    let mut parts: Vec<Part<'_>> = tensors.iter().map(part).collect();
    parts.sort_by_key(|part| part.name);
    parts
}

/// Tensors and at most one key of metadata as the bytes of a file. The bytes depend on nothing else.
///
/// # Errors
/// A shape that does not fit its data.
pub(super) fn write(
    parts: &[Part<'_>],
    metadata: Option<(&str, String)>,
) -> Result<Vec<u8>, ModelError> {
    let metadata = metadata.map(|(key, value)| HashMap::from([(key.to_owned(), value)]));
    let mut views = Vec::with_capacity(parts.len());
    for Part { name, dtype, shape, bytes } in parts {
        let view = TensorView::new(*dtype, shape.to_vec(), bytes);
        let view =
            view.map_err(|source| ModelError::Tensor { name: (*name).to_owned(), source })?;
        views.push((name, view));
    }
    safetensors::serialize(views, metadata).map_err(ModelError::Safetensors)
}

/// As [`write`], from a state's tensors.
///
/// # Errors
/// A shape that does not fit its data.
pub fn to_bytes(
    tensors: &[StateTensor],
    metadata: Option<(&str, String)>,
) -> Result<Vec<u8>, ModelError> {
    write(&parts(tensors), metadata)
}

/// A safetensors file in memory.
#[derive(Debug)]
pub struct Tensors<'a> {
    metadata: Metadata,
    tensors: SafeTensors<'a>,
}

impl<'a> Tensors<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// Bytes that are not a whole safetensors file.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let read = || -> Result<Self, safetensors::SafeTensorError> {
            let (_, metadata) = SafeTensors::read_metadata(bytes)?;
            Ok(Self { metadata, tensors: SafeTensors::deserialize(bytes)? })
        };
        read().map_err(ModelError::Safetensors)
    }

    /// A value of the metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// What the file says of every tensor, in the order of their names.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut names = self.tensors.names();
        names.sort_unstable();
        names.into_iter().filter_map(|name| {
            let info = self.metadata.info(name)?;
            let bytes = self.tensors.tensor(name).ok()?.data().into();
            Some(Part { name, dtype: info.dtype, shape: &info.shape, bytes })
        })
    }

    /// Every tensor, in the order of their names.
    ///
    /// # Errors
    /// A tensor of a type that this program does not use.
    pub fn all(&self) -> Result<Vec<StateTensor>, ModelError> {
        let all = self.tensors.iter().map(|(name, view)| tensor(name, &view));
        let mut all = all.collect::<Result<Vec<_>, ModelError>>()?;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|(name, _)| name)
    }

    /// One tensor.
    ///
    /// # Errors
    /// A tensor that is not there, or of a type that this program does not use.
    pub fn get(&self, name: &str) -> Result<StateTensor, ModelError> {
        let view = self.tensors.tensor(name);
        tensor(name, &view.map_err(|_| ModelError::NoTensor(name.to_owned()))?)
    }
}

/// Real numbers of any width become `f32`; whole numbers from 0 on of any width `u32`.
fn tensor(name: &str, view: &TensorView<'_>) -> Result<StateTensor, ModelError> {
    fn numbers<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
        let (chunks, _) = bytes.as_chunks::<N>();
        chunks.iter().map(|&chunk| from(chunk)).collect()
    }
    let bytes = view.data();
    let whole = |values: Vec<i64>| {
        let fit = values.into_iter().map(u32::try_from).collect::<Result<_, _>>();
        fit.map(StateData::U32).map_err(|_| ModelError::Number(name.to_owned()))
    };
    let data = match view.dtype() {
        Dtype::F32 => StateData::Real(numbers(bytes, f32::from_le_bytes)),
        Dtype::F64 => {
            StateData::Real(numbers(bytes, f64::from_le_bytes).iter().map(|&x| x as f32).collect())
        }
        Dtype::U32 => StateData::U32(numbers(bytes, u32::from_le_bytes)),
        Dtype::I32 => {
            whole(numbers(bytes, i32::from_le_bytes).into_iter().map(i64::from).collect())?
        }
        Dtype::I64 => whole(numbers(bytes, i64::from_le_bytes))?,
        Dtype::U8 => StateData::U32(bytes.iter().map(|&x| u32::from(x)).collect()),
        other => {
            return Err(ModelError::Type { name: name.to_owned(), found: format!("{other:?}") });
        }
    };
    Ok(StateTensor { name: name.to_owned(), shape: view.shape().to_vec(), data })
}
