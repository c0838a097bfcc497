//! Which data sets are there, and how many images they hold, without loading them.

use std::path::{Path, PathBuf};

use crate::{DatasetName, files};

/// Whether a data set can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is compiled in.
    Embedded,
    /// Its folder holds what it should.
    Present,
    /// Its folder is there, but something in it is missing or wrong.
    Incomplete {
        /// The first thing that is wrong.
        problem: String,
    },
    /// Its folder is not there, or holds nothing yet.
    Absent {
        /// How to get it.
        hint: String,
    },
}

/// One line of the list of data sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Which data set.
    pub name: DatasetName,
    /// Where it is or would be; none if it is compiled in.
    pub folder: Option<PathBuf>,
    /// Whether it can be used.
    pub presence: Presence,
    /// The number of training images, if it can be used.
    pub train: Option<u64>,
    /// The number of test images, if it can be used.
    pub test: Option<u64>,
}

/// Every data set with a usual folder below `root`, and the embedded one. Headers and folders are
/// read, not the images: [`crate::verify`] checks those.
pub fn list(root: &Path) -> Vec<Listing> {
    let known = DatasetName::ALL.into_iter().filter(|name| !name.needs_path());
    known.map(|name| listing(name, root)).collect()
}

fn listing(name: DatasetName, root: &Path) -> Listing {
    let set = name.declaration();
    let folder = set.folder().map(|folder| root.join(folder));
    let (presence, counts) = match &folder {
        Some(folder) if !folder.exists() || files::holds_nothing(folder) => {
            (Presence::Absent { hint: set.hint() }, None)
        }
        _ => match set.reader.count(set, folder.as_deref().unwrap_or(root)) {
            Ok(counts) if folder.is_none() => (Presence::Embedded, Some(counts)),
            Ok(counts) => (Presence::Present, Some(counts)),
            Err(error) => (Presence::Incomplete { problem: error.chain() }, None),
        },
    };
    let (train, test) = counts.map(|[train, test]| (train, test)).unzip();
    Listing { name, folder, presence, train, test }
}
