//! Inputs of a network: features, signals or images.

use std::borrow::Cow;

use ndarray::{ArrayView, ArrayView2, ArrayView3, ArrayView4, Dimension};

use super::DataError;
use crate::train::Pixels;

/// Inputs of a network, `[examples, height, width, channels]`. They are made of ndarray's views with [`From`]:
///
/// | view | is |
/// |---|---|
/// | `ArrayView2<f32>` | features, `[examples, features]` |
/// | `ArrayView3<f32>` | signals, `[examples, length, channels]` |
/// | `ArrayView4<f32>`, `ArrayView4<u8>` | images, `[examples, height, width, channels]` |
///
/// Bytes stand for numbers from 0 to 1, real numbers for themselves. A view in standard layout is borrowed; any other is
/// copied.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    shape: [usize; 3],
    len: usize,
    elements: Elements<'a>,
}

#[derive(Clone, Debug)]
pub(super) enum Elements<'a> {
    Bytes(Cow<'a, [u8]>),
    Reals(Cow<'a, [f32]>),
}

impl<'a> Inputs<'a> {
    /// Inputs of this height, width and number of channels from bytes or real numbers, one example after the other and
    /// channels last. They are borrowed.
    ///
    /// # Errors
    /// Numbers that are not a whole number of examples.
    pub fn new(shape: [usize; 3], elements: impl Into<Pixels<'a>>) -> Result<Self, DataError> {
        let elements = elements.into();
        let (found, size) = (elements.len(), shape.iter().product::<usize>());
        if size == 0 || !found.is_multiple_of(size) {
            return Err(DataError::Elements { found, shape });
        }
        Ok(Self { shape, len: found / size, elements: elements.into() })
    }

    /// Images with their channels first, `[examples, channels, height, width]`, as PyTorch has them. They are copied.
    pub fn channels_first<T: Clone>(images: ArrayView4<'a, T>) -> Self
    where
        ArrayView4<'a, T>: Into<Self>,
    {
        images.permuted_axes([0, 2, 3, 1]).into()
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Height, width and channels of an example: `[1, 1, features]` of features, `[1, length, channels]` of signals.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    pub(crate) fn pixels(&self) -> Pixels<'_> {
        match &self.elements {
            Elements::Bytes(bytes) => Pixels::Bytes(bytes),
            Elements::Reals(reals) => Pixels::Reals(reals),
        }
    }

    pub(super) fn view(&self) -> Inputs<'_> {
        let Self { shape, len, .. } = *self;
        Inputs { shape, len, elements: self.pixels().into() }
    }

    /// Copies of these rows.
    pub(super) fn select(&self, rows: &[u32]) -> Inputs<'static> {
        let size = self.shape.iter().product();
        fn gather<T: Copy>(all: &[T], size: usize, rows: &[u32]) -> Cow<'static, [T]> {
            let row = |&row: &u32| &all[row as usize * size..][..size];
            rows.iter().flat_map(row).copied().collect()
        }
        let elements = match &self.elements {
            Elements::Bytes(bytes) => Elements::Bytes(gather(bytes, size, rows)),
            Elements::Reals(reals) => Elements::Reals(gather(reals, size, rows)),
        };
        Inputs { shape: self.shape, len: rows.len(), elements }
    }

    /// Checks that every number is finite.
    pub(crate) fn validate(&self) -> Result<(), DataError> {
        let Elements::Reals(reals) = &self.elements else { return Ok(()) };
        let Some(at) = reals.iter().position(|value| !value.is_finite()) else { return Ok(()) };
        let size = self.shape.iter().product::<usize>();
        let (example, index, value) = (at / size, at % size, reals[at]);
        Err(DataError::NotFinite { what: "feature", index, example, value })
    }

    fn reals<D: Dimension>(view: ArrayView<'a, f32, D>, shape: [usize; 3]) -> Self {
        Self { shape, len: view.shape()[0], elements: Elements::Reals(flat(view)) }
    }
}

/// The elements in standard order, borrowed where they lie in it.
fn flat<'a, T: Copy, D: Dimension>(view: ArrayView<'a, T, D>) -> Cow<'a, [T]> {
    match view.to_slice() {
        Some(slice) => slice.into(),
        None => view.iter().copied().collect(),
    }
}

impl<'a> From<ArrayView2<'a, f32>> for Inputs<'a> {
    fn from(features: ArrayView2<'a, f32>) -> Self {
        let shape = [1, 1, features.ncols()];
        Self::reals(features, shape)
    }
}

impl<'a> From<ArrayView3<'a, f32>> for Inputs<'a> {
    fn from(signals: ArrayView3<'a, f32>) -> Self {
        let (_, length, channels) = signals.dim();
        Self::reals(signals, [1, length, channels])
    }
}

impl<'a> From<ArrayView4<'a, f32>> for Inputs<'a> {
    fn from(images: ArrayView4<'a, f32>) -> Self {
        let (_, height, width, channels) = images.dim();
        Self::reals(images, [height, width, channels])
    }
}

impl<'a> From<ArrayView4<'a, u8>> for Inputs<'a> {
    fn from(images: ArrayView4<'a, u8>) -> Self {
        let (len, height, width, channels) = images.dim();
        Self { shape: [height, width, channels], len, elements: Elements::Bytes(flat(images)) }
    }
}
