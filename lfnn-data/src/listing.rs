//! Which data sets are there, and how many images they hold, without loading them.

use std::path::{Path, PathBuf};

use crate::layout::Layout;
use crate::{DataError, DatasetName, cifar, digits, files, idx};

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
    /// Where it lies or would lie; none if it is compiled in.
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
    let known = DatasetName::ALL.into_iter().filter(|&name| name != DatasetName::Folder);
    known.map(|name| listing(name, root)).collect()
}

fn listing(name: DatasetName, root: &Path) -> Listing {
    let folder = name.folder().map(|folder| root.join(folder));
    let (presence, counts) = match &folder {
        Some(folder) if !folder.exists() || files::holds_nothing(folder) => {
            (Presence::Absent { hint: name.hint() }, None)
        }
        _ => match counts(name, folder.as_deref().unwrap_or(root)) {
            Ok(counts) if folder.is_none() => (Presence::Embedded, Some(counts)),
            Ok(counts) => (Presence::Present, Some(counts)),
            Err(error) => (Presence::Incomplete { problem: error.chain() }, None),
        },
    };
    let (train, test) = counts.unzip();
    Listing { name, folder, presence, train, test }
}

/// Training and test images in a folder.
fn counts(name: DatasetName, folder: &Path) -> Result<(u64, u64), DataError> {
    match name {
        DatasetName::Digits => {
            let digits = digits::load()?;
            Ok((digits.train.len() as u64, digits.test.len() as u64))
        }
        DatasetName::Mnist | DatasetName::FashionMnist => {
            let [train, test] =
                idx::PREFIXES.map(|prefix| idx::count(&idx::find(name, folder, prefix)?.images));
            Ok((train?, test?))
        }
        DatasetName::Cifar10 | DatasetName::Cifar100 => {
            let format = cifar::Format::of(name);
            Ok((format.count(folder, format.train)?, format.count(folder, format.test)?))
        }
        DatasetName::TinyImagenet | DatasetName::Folder => {
            let layout = Layout::read(name, folder)?;
            Ok((layout.train.paths.len() as u64, layout.test.paths.len() as u64))
        }
    }
}
