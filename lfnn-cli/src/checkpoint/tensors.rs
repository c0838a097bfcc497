//! Tensors to safetensors bytes and back.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};
use lfnn_core::train::{StateData, StateTensor};
use lfnn_cpu::available_memory;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView};

use crate::files;

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
) -> anyhow::Result<Vec<u8>> {
    let metadata = metadata.map(|(key, value)| HashMap::from([(key.to_owned(), value)]));
    let mut views = Vec::with_capacity(parts.len());
    for Part { name, dtype, shape, bytes } in parts {
        let view = TensorView::new(*dtype, shape.to_vec(), bytes);
        views.push((name, view.with_context(|| format!("tensor `{name}`"))?));
    }
    Ok(safetensors::serialize(views, metadata)?)
}

/// As [`write`], from a state's tensors.
///
/// # Errors
/// A shape that does not fit its data.
pub(crate) fn to_bytes(
    tensors: &[StateTensor],
    metadata: Option<(&str, String)>,
) -> anyhow::Result<Vec<u8>> {
    write(&parts(tensors), metadata)
}

/// The bytes of a file of tensors, which leave room for the numbers in them.
///
/// # Errors
/// A file that cannot be read or is too large for this machine.
pub(super) fn read_bytes(path: &Path, what: &str) -> anyhow::Result<Vec<u8>> {
    files::read(path, what, available_memory().unwrap_or(usize::MAX) / 2)
}

/// What `read` takes from a file of tensors.
///
/// # Errors
/// A file that cannot be read, is too large for this machine or is no safetensors file; as `read` has it.
pub(crate) fn read_tensors<T>(
    path: &Path,
    what: &str,
    read: impl FnOnce(&Tensors<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let bytes = read_bytes(path, what)?;
    let found = Tensors::read(&bytes).and_then(|tensors| read(&tensors));
    found.with_context(|| path.display().to_string())
}

/// A safetensors file in memory.
#[derive(Debug)]
pub(crate) struct Tensors<'a> {
    metadata: Metadata,
    tensors: SafeTensors<'a>,
}

impl<'a> Tensors<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// Bytes that are not a whole safetensors file.
    pub(crate) fn read(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let read = || -> Result<Self, safetensors::SafeTensorError> {
            let (_, metadata) = SafeTensors::read_metadata(bytes)?;
            Ok(Self { metadata, tensors: SafeTensors::deserialize(bytes)? })
        };
        read().context("not a safetensors file, or a truncated one")
    }

    /// A value of the metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
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
    pub(crate) fn all(&self) -> anyhow::Result<Vec<StateTensor>> {
        let all = self.tensors.iter().map(|(name, view)| tensor(name, &view));
        let mut all = all.collect::<anyhow::Result<Vec<_>>>()?;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|(name, _)| name)
    }

    /// One tensor.
    ///
    /// # Errors
    /// A tensor that is not there, or of a type that this program does not use.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<StateTensor> {
        let view =
            self.tensors.tensor(name).with_context(|| format!("the tensor `{name}` is missing"))?;
        tensor(name, &view)
    }
}

/// Real numbers of any width become `f32`; whole numbers from 0 on of any width `u32`.
fn tensor(name: &str, view: &TensorView<'_>) -> anyhow::Result<StateTensor> {
    fn numbers<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
        let (chunks, _) = bytes.as_chunks::<N>();
        chunks.iter().map(|&chunk| from(chunk)).collect()
    }
    let bytes = view.data();
    let whole = |values: Vec<i64>| -> anyhow::Result<StateData> {
        let fit = values.into_iter().map(u32::try_from).collect::<Result<_, _>>();
        let wrong = || format!("tensor `{name}` holds a number below 0 or too large");
        fit.map(StateData::U32).with_context(wrong)
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
        other => bail!("tensor `{name}` holds {other:?}; expected F32, F64, U8, U32, I32 or I64"),
    };
    Ok(StateTensor { name: name.to_owned(), shape: view.shape().to_vec(), data })
}
