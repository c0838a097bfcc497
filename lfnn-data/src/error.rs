//! Everything that can go wrong with data, each naming the file or key, what was found there and
//! what was expected.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What one try at one mirror came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The address asked.
    pub url: String,
    /// What went wrong there.
    pub problem: String,
}

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A name that is no data set's.
    #[error("there is no data set `{found}`; expected one of {expected}")]
    UnknownDataset {
        /// The name given.
        found: String,
        /// The names there are.
        expected: String,
    },

    /// A setting the data set needs is missing or does not fit it.
    #[error("{key}: found {found}; expected {expected}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// What would be right.
        expected: String,
    },

    /// A folder or file that should be there is not, or something else is in its place.
    #[error("{}: {found}; expected {expected}{}", .path.display(), hint_suffix(.hint))]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What is there: `not found`, `it is a file`, …
        found: &'static str,
        /// What should be there.
        expected: String,
        /// How to get it; may be empty.
        hint: String,
    },

    /// The operating system refused.
    #[error("{}: cannot {action}", .path.display())]
    Io {
        /// What was tried: `read`, `write`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// A file does not say what its format asks for.
    #[error("{}: {what} is {found}; expected {expected}", .file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// The part of the file: `magic number`, `line 3`, …
        what: String,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },

    /// A file is shorter or longer than its header or record size asks for.
    #[error("{}: {} at {found} bytes; expected {expected}", .file.display(), fault(*.oversized))]
    Length {
        /// The file.
        file: PathBuf,
        /// Whether there is too much rather than too little.
        oversized: bool,
        /// Its length, or what is known of it (`more than 16`).
        found: String,
        /// The length it should have, in words.
        expected: String,
    },

    /// The files of images and of labels do not go together.
    #[error(
        "{}: found {images} images, but {} has {labels} labels; expected as many",
        .images_file.display(), .labels_file.display()
    )]
    CountMismatch {
        /// The file of images.
        images_file: PathBuf,
        /// How many images it holds.
        images: u64,
        /// The file of labels.
        labels_file: PathBuf,
        /// How many labels it holds.
        labels: u64,
    },

    /// A label that is no class.
    #[error("{}: label {index} is {found}; expected less than {classes}", .file.display())]
    LabelOutOfRange {
        /// The file of labels.
        file: PathBuf,
        /// Which label, from 0.
        index: usize,
        /// Its value.
        found: u32,
        /// The number of classes.
        classes: usize,
    },

    /// A class without a single image.
    #[error("{}: no images; expected {expected}", .folder.display())]
    EmptyClass {
        /// The folder of the class.
        folder: PathBuf,
        /// What should be in it.
        expected: String,
    },

    /// A file that is no image, or a broken one.
    #[error("{}: cannot be decoded; expected {expected}", .file.display())]
    Decode {
        /// The file.
        file: PathBuf,
        /// The kinds of image that can be read.
        expected: &'static str,
        /// What the decoder says, on one line.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// An image of another size than the data set's.
    #[error(
        "{}: the image is {} × {} pixels (height × width); expected {} × {}{}",
        .file.display(), .found.0, .found.1, .expected.0, .expected.1, hint_suffix(.hint)
    )]
    ImageSize {
        /// The file.
        file: PathBuf,
        /// Its height and width.
        found: (usize, usize),
        /// The height and width asked for.
        expected: (usize, usize),
        /// What to do about it; may be empty.
        hint: String,
    },

    /// More pixels than this machine can hold in memory or address.
    #[error("{what}: {images} images of {height} × {width} × {channels} do not fit in memory")]
    TooLarge {
        /// The file or folder, or what was asked for.
        what: String,
        /// The number of images.
        images: u64,
        /// Height of an image.
        height: usize,
        /// Width of an image.
        width: usize,
        /// Channels of an image.
        channels: usize,
    },

    /// More examples held out than there are.
    #[error(
        "validation: found {found} examples to hold out; expected fewer than {available}, the number to train on"
    )]
    HoldOut {
        /// How many should be held out.
        found: usize,
        /// How many there are.
        available: usize,
    },

    /// Pixels, labels and shape that do not go together, or an index outside them.
    #[error("{what} is {found}; expected {expected}")]
    Inconsistent {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: u64,
        /// What it should be.
        expected: String,
    },

    /// A data set that cannot be fetched by itself.
    #[error("{name} cannot be fetched; {hint}")]
    NotFetchable {
        /// The data set.
        name: &'static str,
        /// How to get it.
        hint: String,
    },

    /// No mirror gave the right file.
    #[error("{file}: no mirror delivered it:{}", attempts_list(.attempts))]
    Download {
        /// The file.
        file: String,
        /// Every mirror and what went wrong there, in the order tried.
        attempts: Vec<Attempt>,
    },
}

fn fault(oversized: bool) -> &'static str {
    if oversized { "oversized" } else { "truncated" }
}

fn hint_suffix(hint: &str) -> impl fmt::Display {
    if hint.is_empty() { String::new() } else { format!("; {hint}") }
}

fn attempts_list(attempts: &[Attempt]) -> impl fmt::Display {
    attempts.iter().map(|a| format!("\n  {}: {}", a.url, a.problem)).collect::<String>()
}

impl DataError {
    /// The message with its causes, on one line, for reports that hold no error values. A cause
    /// that is part of the one before is left out.
    pub(crate) fn chain(&self) -> String {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.ends_with(&text) {
                message.push_str(&format!(": {text}"));
            }
            cause = error.source();
        }
        message
    }

    /// For `map_err` on what the operating system answers.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn format(
        file: &Path,
        what: impl Into<String>,
        found: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Self {
        Self::Format {
            file: file.to_owned(),
            what: what.into(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    pub(crate) fn truncated(
        file: &Path,
        found: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Self {
        Self::length(file, false, found, expected)
    }

    pub(crate) fn oversized(
        file: &Path,
        found: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Self {
        Self::length(file, true, found, expected)
    }

    fn length(
        file: &Path,
        oversized: bool,
        found: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Self {
        Self::Length {
            file: file.to_owned(),
            oversized,
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }
}
