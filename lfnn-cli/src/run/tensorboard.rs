//! `events.out.tfevents.…`: the metrics of a run as TensorBoard reads them.
//!
//! `train --tensorboard` begins the file, and each epoch of a run that has one is added to it. A record is its length,
//! a checksum of the length, the event as a protocol buffer (`tensorflow/core/util/event.proto`, of which these are
//! the fields that scalars need), and a checksum of that.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use crc::{CRC_32_ISCSI, Crc};
use prost::Message;

use super::rows::EpochRow;
use crate::files::{append, write_whole};

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Scalars>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalars {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    value: Option<f32>,
}

/// The file in a run's folder.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("events.out.tfevents.0.lfnn")
}

/// Gives a run its file, if it has none.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn begin(folder: &Path) -> anyhow::Result<()> {
    let path = path(folder);
    if path.exists() { Ok(()) } else { write_whole(&path, &version()) }
}

/// Makes the file, if the run has one, hold just these rows. Events that are there keep their times.
///
/// # Errors
/// A file that cannot be read or written.
pub(super) fn resume(folder: &Path, rows: &[EpochRow]) -> anyhow::Result<()> {
    let path = path(folder);
    if !path.exists() {
        return Ok(());
    }
    let found = fs::read(&path).with_context(|| format!("{}: cannot read", path.display()))?;
    let mut records = records(&found);
    let mut bytes = match records.next() {
        Some((event, bytes)) if event.file_version.is_some() => bytes.to_vec(),
        _ => version(),
    };
    let mut rows = rows.iter();
    for (event_found, record_found) in records {
        match rows.as_slice().first() {
            Some(row) if row.epoch as i64 == event_found.step => bytes.extend(record_found),
            _ => break,
        }
        rows.next();
    }
    rows.for_each(|row| bytes.extend(record(&event(row))));
    if bytes == found { Ok(()) } else { write_whole(&path, &bytes) }
}

/// The events of a file with their records, up to one that is not whole.
fn records(mut bytes: &[u8]) -> impl Iterator<Item = (Event, &[u8])> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        let data = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let end = rest[data.len()..].first_chunk::<4>()?;
        if *sum != masked(length).to_le_bytes() || *end != masked(data).to_le_bytes() {
            return None;
        }
        let (record, rest) = bytes.split_at(8 + 4 + data.len() + 4);
        bytes = rest;
        Some((Event::decode(data).ok()?, record))
    })
}

/// The record with which a file begins.
fn version() -> Vec<u8> {
    let file_version = Some("brain.Event:2".into());
    record(&Event { wall_time: now(), file_version, ..Event::default() })
}

/// Adds an epoch, if the run has such a file.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn push(folder: &Path, row: &EpochRow) -> anyhow::Result<()> {
    let path = path(folder);
    if !path.exists() {
        return Ok(());
    }
    append(&path, &record(&event(row)))
}

/// Removes the file of a run in which nothing has been trained.
pub(super) fn discard(folder: &Path) {
    let _ = fs::remove_file(path(folder));
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// An epoch's scalars.
fn event(row: &EpochRow) -> Event {
    let scalar = |tag: String, value: f64| Scalar { tag, value: Some(value as f32) };
    let mut values = vec![
        scalar("learning_rate".into(), row.learning_rate),
        scalar("images_per_second".into(), row.images_per_second),
    ];
    for entry in row.entries() {
        let tag = format!("{}{}/{}", entry.place("/"), entry.name, entry.images);
        values.push(scalar(tag, entry.value));
    }
    let (wall_time, step) = (now(), row.epoch as i64);
    Event { wall_time, step, file_version: None, summary: Some(Scalars { values }) }
}

fn record(event: &Event) -> Vec<u8> {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked(&length).to_le_bytes());
    bytes.extend(&data);
    bytes.extend(masked(&data).to_le_bytes());
    bytes
}

/// The checksum, turned and moved so that one of data with checksums inside is not mistaken.
fn masked(data: &[u8]) -> u32 {
    Crc::<u32>::new(&CRC_32_ISCSI).checksum(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_tensorflow() {
        // CRC-32C of 32 zeros is 0x8a9136aa (RFC 3720, B.4); masked by TensorFlow's rule.
        let sum = 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked(&[0; 32]), sum);
    }

    #[test]
    fn a_record_is_length_checksum_event_checksum() {
        let event = Event { wall_time: 1.0, file_version: Some("v".into()), ..Event::default() };
        let bytes = record(&event);
        // Tag 1 and eight bytes, tag 3 with one letter: 12 bytes; step 0 is left out.
        assert_eq!(bytes[..8], 12u64.to_le_bytes());
        assert_eq!(bytes.len(), 8 + 4 + 12 + 4);
        assert_eq!(Event::decode(&bytes[12..24]).unwrap(), event);
    }
}
