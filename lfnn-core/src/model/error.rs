//! What goes wrong with a file of a model.

use thiserror::Error;

use super::file::{FORMAT, KEY};

/// A file that is no model, or one that was damaged.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Bytes that are not a whole safetensors file.
    #[error("not a safetensors file, or a truncated one")]
    Safetensors(#[source] safetensors::SafeTensorError),
    /// A tensor whose shape does not fit its data.
    #[error("tensor `{name}`")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        source: safetensors::SafeTensorError,
    },
    /// A tensor that is not there.
    #[error("the tensor `{0}` is missing")]
    NoTensor(String),
    /// A tensor of a type that is not used here.
    #[error("tensor `{name}` holds {found}; expected F32, F64, U8, U32, I32 or I64")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A whole number that does not fit 32 bits.
    #[error("tensor `{0}` holds a number below 0 or too large")]
    Number(String),
    /// A safetensors file of another program.
    #[error("a safetensors file without the metadata `{KEY}`, so not a checkpoint of this program")]
    NoMetadata,
    /// Metadata that is not what it should be.
    #[error("the metadata is not readable")]
    Metadata(#[from] serde_json::Error),
    /// A description that no file can hold: a network with a layer of the program's own.
    #[error("the model cannot be written: {0}")]
    Unwritable(#[source] serde_json::Error),
    /// A layout of the metadata that is not known here.
    #[error("a checkpoint of format {0}; this program reads format {FORMAT}")]
    Format(serde_json::Value),
    /// A file that does not say its layout.
    #[error("the metadata has no format; this program reads format {FORMAT}")]
    NoFormat,
    /// A checksum that is not that of the content.
    #[error(
        "the checksum does not match the content: the file was damaged after it was written; take another copy of \
         it, or another checkpoint of the run"
    )]
    Checksum,
    /// A number that is infinite or not a number.
    #[error("`{0}` holds a number that is not finite")]
    NotFinite(String),
    /// A description that contradicts itself.
    #[error("the metadata describes {0}")]
    Description(String),
}
