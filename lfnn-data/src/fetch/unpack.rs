//! Taking files out of a `.tar.gz`.
//!
//! Only the members asked for are written, by their bare names, and an archive with links, with paths
//! that lead out of it or with much more than the members is refused.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

use flate2::read::GzDecoder;

use super::download::part_of;
use crate::{Counted, DataError, Progress, PublishedFile, Update};

/// Bytes an archive may hold in addition to its members: headers, padding, a note of the authors.
const ROOM: u64 = 1 << 20;

/// Takes members out of a `.tar.gz` and writes them into a folder, which must be there.
///
/// # Errors
/// A file that is no such archive, a member that is missing or of another size, or a disk that refuses.
pub fn unpack(
    archive: &Path,
    members: &[PublishedFile],
    folder: &Path,
    progress: &dyn Progress,
) -> Result<(), DataError> {
    let broken = |error: io::Error| {
        let found = format!("broken ({error})");
        DataError::format(archive, "archive", found, "a whole .tar.gz")
    };
    let file = File::open(archive).map_err(DataError::io("read", archive))?;
    let most = members.iter().fold(ROOM, |sum, member| sum.saturating_add(member.bytes));
    let reader = Bounded { reader: GzDecoder::new(BufReader::new(file)), most, left: most };
    let mut tar = tar::Archive::new(reader);
    let mut missing: Vec<&PublishedFile> = members.iter().collect();
    let what = format!("unpacking {}", archive.file_name().unwrap_or_default().display());
    let total = members.len() as u64;

    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let (kind, size) = (entry.header().entry_type(), entry.size());
        let path = entry.path().map_err(broken)?.into_owned();
        let wrong = |found: String, expected: String| {
            DataError::format(archive, format!("`{}` in it", path.display()), found, expected)
        };
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if kind.is_symlink() || kind.is_hard_link() || !path.components().all(inside) {
            let found = format!("{} bytes of {kind:?}", size);
            return Err(wrong(found, "no links, and only paths inside the archive".to_owned()));
        }
        let is_this = |member: &&PublishedFile| path.file_name() == Some((*member.name).as_ref());
        let Some(index) = missing.iter().position(is_this) else { continue };
        let member = missing.swap_remove(index);
        if !kind.is_file() || size != member.bytes {
            let found = format!("{size} bytes of {kind:?}");
            return Err(wrong(found, format!("a file of {} bytes", member.bytes)));
        }
        let target = folder.join(&*member.name);
        let written = write(&mut entry, &target).map_err(DataError::io("write", &target))?;
        if written != size {
            return Err(wrong(format!("cut at {written} bytes"), format!("{size} bytes")));
        }
        let done = total - missing.len() as u64;
        progress.report(&Update { what: &what, counted: Counted::Files, done, total });
        if missing.is_empty() {
            return Ok(());
        }
    }
    let names: Vec<&str> = missing.iter().map(|member| &*member.name).collect();
    let found = format!("without {}", names.join(", "));
    Err(DataError::format(archive, "archive", found, format!("all {total} files")))
}

/// A reader of at most so many bytes; more are an error.
struct Bounded<R> {
    reader: R,
    most: u64,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other(format!("it unpacks to more than {} bytes", self.most))
        })?;
        Ok(count)
    }
}

/// Writes all of `source` under another name, then moves it to `target`; returns its length.
fn write(source: &mut dyn Read, target: &Path) -> io::Result<u64> {
    let part = part_of(target);
    let mut file = File::create(&part)?;
    let written = io::copy(source, &mut file)?;
    file.sync_all()?;
    fs::rename(part, target)?;
    Ok(written)
}
