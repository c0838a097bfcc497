//! What is downloaded, and how patiently.

use std::path::Path;
use std::time::Duration;

use crate::{DataError, Progress, PublishedFile};

/// A file to download, and where from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The file.
    pub file: PublishedFile,
    /// Complete addresses of it, in the order to be tried.
    pub mirrors: Vec<String>,
    /// For a `.tar.gz`: the files to take out of it, wherever in it they are; the archive is deleted afterwards. Empty
    /// for a file that is kept as it is.
    pub members: Vec<PublishedFile>,
}

impl Remote {
    /// Whether the file, or everything that would be taken out of it, is there and right.
    pub(super) fn is_in(&self, folder: &Path, progress: &dyn Progress) -> Result<bool, DataError> {
        let files =
            if self.members.is_empty() { std::slice::from_ref(&self.file) } else { &self.members };
        for file in files {
            if !file.is_in(folder, progress)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// How patient a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection and the head of an answer.
    pub connect: Duration,
    /// For the next bytes of an answer that has begun.
    pub stall: Duration,
    /// How often one mirror may break off before the next is asked. Each try continues where the
    /// last one stopped; a try that brings nothing ends the mirror's turn at once.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), stall: Duration::from_secs(30), tries: 20 }
    }
}
