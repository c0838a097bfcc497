#![doc = include_str!("../README.md")]
//!
//! The crate knows formats, folders, downloads and splits. It knows neither networks nor backends:
//! images of bytes stay `u8`, and shuffling, augmenting and normalising examples is the backend's work.
#![forbid(unsafe_code)]

mod arrays;
mod cifar;
mod dataset;
mod datasets;
mod declaration;
mod decode;
mod error;
mod example_format;
mod examples;
#[cfg(feature = "download")]
pub mod fetch;
mod files;
mod idx;
mod image_file;
mod image_folder;
mod image_options;
mod jpeg;
mod listing;
mod notes;
mod permute;
mod progress;
mod published;
mod source;
mod table;
mod verification;
mod verify;

pub use arrays::{ArrayDataset, ArrayPart, ArrayValues, StoredArray};
pub use dataset::Dataset;
pub use datasets::DatasetName;
pub use declaration::{DataKind, DatasetSize};
pub use decode::{LoadedImage, load_image};
pub use error::{Attempt, DataError};
pub use example_format::{ExampleFormat, image_files};
pub use examples::{Examples, ImageShape, Inputs, TargetNames, Targets};
#[cfg(feature = "download")]
pub use fetch::fetch;
pub use image_options::{BitDepth, ImageOptions};
pub use listing::{Listing, Presence, list};
pub use notes::Note;
pub use permute::{permute_pixels, pixel_permutation};
pub use progress::{Counted, Progress, Update, silent};
pub use published::PublishedFile;
pub use source::{DEFAULT_TEST_SHARE, Source, TestPart};
pub use table::{
    ColumnEncoding, ColumnKind, MissingCells, Table, TableColumns, TableEncoding, TargetEncoding,
};
pub use verification::{FileReport, FileState, Verification};
pub use verify::verify;
