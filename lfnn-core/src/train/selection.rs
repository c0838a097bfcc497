//! Which examples of the data on a device are meant.

use super::error::TrainError;
use crate::data::Dataset;

/// Examples of a data set: a part of it, or their indices.
pub trait Selection {
    /// Their indices in the data set on the device, whose identity this is.
    ///
    /// # Errors
    /// A part of another data set.
    fn rows(&self, on_device: Option<u64>) -> Result<&[u32], TrainError>;
}

impl Selection for [u32] {
    fn rows(&self, _: Option<u64>) -> Result<&[u32], TrainError> {
        Ok(self)
    }
}

impl<const N: usize> Selection for [u32; N] {
    fn rows(&self, _: Option<u64>) -> Result<&[u32], TrainError> {
        Ok(self)
    }
}

impl Selection for Vec<u32> {
    fn rows(&self, _: Option<u64>) -> Result<&[u32], TrainError> {
        Ok(self)
    }
}

impl Selection for Dataset<'_> {
    fn rows(&self, on_device: Option<u64>) -> Result<&[u32], TrainError> {
        let (_, rows) = self.images();
        if on_device == Some(self.identity()) { Ok(rows) } else { Err(TrainError::OtherDataset) }
    }
}
