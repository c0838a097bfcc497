//! Whether the files of a data set are what was published, file by file.

use std::path::Path;

use crate::declaration::Origin;
use crate::{DataError, DatasetName, Progress, Verification};

/// Checks every file of the data set `name` in `folder` (a file, for a table; without a meaning for the embedded one).
///
/// Files with a published checksum are compared with it. Of others, all images are decoded, and each broken one is
/// reported.
///
/// # Errors
/// If the folder is not there. What is wrong inside it is in the reports.
pub fn verify(
    name: DatasetName,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Verification, DataError> {
    let set = name.declaration();
    if !matches!(set.origin, Origin::Embedded) {
        set.need_own_path(folder)?;
    }
    Ok(match set.origin {
        Origin::Download { files, .. } => files.check(folder, progress).collect(),
        _ => set.reader.verify(set, folder, progress),
    })
}
