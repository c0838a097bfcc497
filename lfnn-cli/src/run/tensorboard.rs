//! `events.out.tfevents.…`: the metrics of a run as TensorBoard reads them.
//!
//! A run has this file if `train --tensorboard` began it; then every epoch is added to it, and a run that
//! goes on writes it anew. A record is its length, a checksum of the length, the event as a protocol
//! buffer (`tensorflow/core/util/event.proto`, of which these are the fields that scalars need), and a
//! checksum of that.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use crc::{CRC_32_ISCSI, Crc};
use prost::Message;

use super::EpochRow;

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

/// Gives a run its file, with the epochs so far.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn begin(folder: &Path, rows: &[EpochRow]) -> anyhow::Result<()> {
    let version =
        Event { wall_time: now(), file_version: Some("brain.Event:2".into()), ..Event::default() };
    let mut bytes = record(&version);
    rows.iter().for_each(|row| bytes.extend(record(&event(row))));
    crate::checkpoint::write_whole(&path(folder), &bytes)
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
    OpenOptions::new()
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(&record(&event(row))))
        .with_context(|| format!("{}: cannot write", path.display()))
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
    let mut values = Vec::new();
    let mut scalar = |tag: String, value: Option<f64>| {
        if let Some(value) = value {
            values.push(Scalar { tag, value: Some(value as f32) });
        }
    };
    let sets =
        [("train", Some(row.train)), ("validation", row.validation), ("test", Some(row.test))];
    for (set, losses) in sets {
        scalar(format!("loss/{set}"), losses.map(|losses| losses.loss));
        scalar(format!("error/{set}"), losses.and_then(|losses| losses.error));
    }
    scalar("learning_rate".into(), Some(row.learning_rate));
    scalar("images_per_second".into(), Some(row.images_per_second));
    for unit in &row.units {
        let best = unit.test_worker_errors.iter().copied().reduce(f64::min);
        scalar(format!("unit{}/leader_loss", unit.unit), Some(unit.leader_loss));
        scalar(format!("unit{}/follower_loss", unit.unit), Some(unit.follower_loss));
        scalar(format!("unit{}/best_worker_test_error", unit.unit), best);
    }
    Event {
        wall_time: now(),
        step: row.epoch as i64,
        file_version: None,
        summary: Some(Scalars { values }),
    }
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
