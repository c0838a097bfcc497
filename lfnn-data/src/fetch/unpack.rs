//! Taking files out of a `.tar.gz`.
//!
//! Only the members asked for are written, by their bare names: whatever paths, links or devices an
//! archive holds, nothing lands outside the folder.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use super::Member;
use super::download::part_of;
use crate::{DataError, Progress, Step, Unit};

/// Takes members out of a `.tar.gz` and writes them into a folder, which must be there.
///
/// # Errors
/// A file that is no such archive, a member that is missing or of another size, or a disk that refuses.
pub fn unpack(
    archive: &Path,
    members: &[Member],
    folder: &Path,
    progress: &dyn Progress,
) -> Result<(), DataError> {
    let broken = |error: io::Error| {
        let found = format!("broken ({error})");
        DataError::format(archive, "archive", found, "a whole .tar.gz")
    };
    let file = File::open(archive).map_err(DataError::io("read", archive))?;
    let mut tar = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    let mut missing: Vec<&Member> = members.iter().collect();
    let what = format!("unpacking {}", archive.file_name().unwrap_or_default().display());
    let total = members.len() as u64;

    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let is_this = |member: &&Member| path.file_name() == Some(member.name.as_ref());
        let Some(index) = missing.iter().position(is_this) else { continue };
        let member = missing.swap_remove(index);
        if !entry.header().entry_type().is_file() || entry.size() != member.bytes {
            let what = format!("`{}` in it", path.display());
            let found = format!("{} bytes of {:?}", entry.size(), entry.header().entry_type());
            let expected = format!("a file of {} bytes", member.bytes);
            return Err(DataError::format(archive, what, found, expected));
        }
        let target = folder.join(&member.name);
        write(&mut entry, &target).map_err(DataError::io("write", &target))?;
        let done = total - missing.len() as u64;
        progress.report(&Step { what: &what, unit: Unit::Files, done, total });
        if missing.is_empty() {
            return Ok(());
        }
    }
    let names: Vec<&str> = missing.iter().map(|member| member.name.as_str()).collect();
    let found = format!("without {}", names.join(", "));
    Err(DataError::format(archive, "archive", found, format!("all {total} files")))
}

/// Writes all of `source` under another name, then moves it to `target`.
fn write(source: &mut dyn Read, target: &Path) -> io::Result<()> {
    let part = part_of(target);
    let mut file = File::create(&part)?;
    io::copy(source, &mut file)?;
    file.sync_all()?;
    fs::rename(part, target)
}
