//! Loading, checking and fetching data sets through the public interface, on files the tests make.

// The lint spares `#[test]` functions but not the helpers they share.
#![allow(clippy::unwrap_used)]

mod cifar;
#[cfg(feature = "download")]
mod fetch;
mod hostile;
mod idx;
mod image_folders;
mod listing;
mod notes;
mod own_data;
#[cfg(feature = "download")]
mod server;
mod support;
mod whole_images;
