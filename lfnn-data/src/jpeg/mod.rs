//! Whether a JPEG file holds all of its data.
//!
//! Decoders fill in with grey what is missing of a JPEG, because a viewer should show as much as
//! there is. To learn from grey would be wrong. So the blocks of every scan are counted here, by the
//! lengths of their codes and without their values: the data must reach the last block and end there.
//!
//! What no decoder needs is not asked for: an end marker whose data is all there, restart markers in
//! their order, anything after the image. Data that was changed but not cut is not found out, because
//! JPEG has no checksums.

mod bits;
mod frame;
mod scan;

use bits::{Bits, Tables};
use frame::Frame;
use scan::Scan;

/// Whether a file that a decoder takes for a JPEG holds the data of all its blocks.
///
/// # Errors
/// What is missing.
pub(crate) fn check(file: &[u8]) -> Result<(), String> {
    let (mut at, mut tables, mut frame, mut interval) = (2, Tables::default(), None, 0);
    let (mut scans, mut ended) = (0, false);
    while let Some((marker, segment)) = next_segment(file, &mut at) {
        let wrong = || format!("segment 0x{marker:02x} is broken");
        match marker {
            END => {
                ended = true;
                break;
            }
            0xc0..=0xc2 => frame = Some(Frame::read(segment, marker == 0xc2).ok_or_else(wrong)?),
            0xc4 => tables.read(segment).ok_or_else(wrong)?,
            0xdd => {
                let value = segment.first_chunk().ok_or_else(wrong)?;
                interval = u16::from_be_bytes(*value).into();
            }
            0xda => {
                scans += 1;
                let frame = frame.as_mut().ok_or_else(wrong)?;
                let scan = Scan::read(segment, frame, &tables).ok_or_else(wrong)?;
                let mut bits = Bits::new(file, at);
                scan.walk(&mut bits, frame, interval)
                    .map_err(|fault| format!("the data of scan {scans} {fault}"))?;
                at = bits.position();
            }
            _ => {}
        }
    }
    let whole = |frame: &Frame| if ended { frame.has_begun() } else { frame.is_complete() };
    if frame.as_ref().is_some_and(whole) {
        return Ok(());
    }
    Err(format!("it ends after scan {scans}, before its last one"))
}

const END: u8 = 0xd9;

/// The next marker with what belongs to it, its length left out; none at the end of the file.
fn next_segment<'f>(file: &'f [u8], at: &mut usize) -> Option<(u8, &'f [u8])> {
    loop {
        let start = *at
            + file
                .get(*at..)?
                .windows(2)
                .position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))?;
        let marker = file[start + 1];
        *at = start + 2;
        match marker {
            // These have no data. A restart marker may follow the last block too.
            0x01 | 0xd0..=0xd8 => {}
            END => return Some((marker, &[])),
            _ => {
                let length = usize::from(u16::from_be_bytes(*file.get(*at..)?.first_chunk()?));
                let segment = file.get(*at + 2..*at + length.max(2));
                *at = file.len().min(*at + length.max(2));
                return Some((marker, segment?));
            }
        }
    }
}
