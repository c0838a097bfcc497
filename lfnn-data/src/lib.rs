#![doc = include_str!("../README.md")]
//!
//! The crate knows formats, folders, downloads and splits. It knows neither networks nor backends:
//! images stay `u8`, and shuffling, augmenting and normalising them is the backend's work.
#![forbid(unsafe_code)]

mod arrays;
mod catalogue;
mod cifar;
mod dataset;
mod decode;
mod digits;
mod error;
#[cfg(feature = "download")]
pub mod fetch;
mod files;
mod folder;
mod idx;
mod image_file;
mod images;
mod jpeg;
mod known;
mod layout;
mod listing;
mod notes;
mod permute;
mod progress;
mod split;
mod statistics;
mod table;
mod tiny_imagenet;
mod verify;

pub use arrays::{ArrayDataset, ArrayPart, ArrayValues, StoredArray};
pub use dataset::{Dataset, Source};
pub use decode::{LoadedImage, load_image};
pub use error::{Attempt, DataError};
#[cfg(feature = "download")]
pub use fetch::fetch;
pub use images::{ImageShape, Images};
pub use known::DatasetName;
pub use listing::{Listing, Presence, list};
pub use notes::Note;
pub use permute::{permute_pixels, pixel_permutation};
pub use progress::{Progress, Step, Unit, silent};
pub use split::{Split, hold_out};
pub use statistics::{ChannelStatistics, channel_statistics};
pub use table::{
    ColumnEncoding, ColumnKind, MissingCells, Table, TableColumns, TableEncoding, TargetEncoding,
};
pub use verify::{FileReport, FileState, Verification, verify};
