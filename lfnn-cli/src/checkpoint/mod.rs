//! Checkpoints: everything that is needed to resume a run or to use its network, in one safetensors file.
//!
//! The file's metadata has one key, `lfnn`, whose value is JSON with sorted keys: a map of several
//! keys would be written in a random order, and equal states would not be equal bytes. It holds no
//! times, names of machines or numbers of threads. It holds a checksum of everything else in the file, so that
//! a checkpoint that a disk or a copy has changed is refused.

mod tensors;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lfnn_core::train::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::RunConfig;
use crate::format::hex;

use tensors::{Part, read_bytes};

pub(crate) use tensors::{Tensors, read_tensors, to_bytes};

/// The layout of the metadata; a file with another number is refused.
const FORMAT: u32 = 2;
/// The key of the metadata.
const KEY: &str = "lfnn";
/// The key, in the metadata's JSON, of the SHA-256 of all else.
const CHECKSUM: &str = "checksum";

/// What a checkpoint says beside its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metadata {
    /// Layout of this metadata.
    pub(crate) format: u32,
    /// The whole configuration.
    pub(crate) config: RunConfig,
    /// Names of the classes.
    pub(crate) classes: Vec<String>,
    /// Height, width and channels of an image.
    pub(crate) image: [usize; 3],
    /// SHA-256 of the data that the run is trained on.
    pub(crate) data: String,
    /// Epochs that are over.
    pub(crate) epoch: usize,
    /// Batches of the epoch under way.
    pub(crate) batch: usize,
    /// The best epoch so far.
    pub(crate) best: Option<Best>,
    /// Whether the run stopped early.
    pub(crate) stopped_early: bool,
}

/// The best epoch of a run, by its validation error (by its training error without validation).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Best {
    /// The epoch, from 1.
    pub(crate) epoch: usize,
    /// Its error, in percent.
    pub(crate) error: f64,
    /// Its loss, which decides between equal errors.
    pub(crate) loss: f64,
}

/// A checkpoint in memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    /// What it says beside its tensors.
    pub(crate) metadata: Metadata,
    /// Its tensors.
    pub(crate) state: State,
}

impl Metadata {
    /// The metadata of a run that begins.
    pub(crate) fn new(
        config: RunConfig,
        classes: Vec<String>,
        image: [usize; 3],
        data: String,
    ) -> Self {
        Self {
            format: FORMAT,
            config,
            classes,
            image,
            data,
            epoch: 0,
            batch: 0,
            best: None,
            stopped_early: false,
        }
    }
}

/// A checkpoint as the bytes of its file.
///
/// # Errors
/// None is expected.
pub(crate) fn encode(metadata: &Metadata, state: &State) -> anyhow::Result<Vec<u8>> {
    sign(serde_json::to_value(metadata)?, state)
}

/// A file of this metadata and these tensors, with its checksum.
fn sign(mut metadata: Value, state: &State) -> anyhow::Result<Vec<u8>> {
    let parts = tensors::parts(&state.tensors);
    metadata[CHECKSUM] = Value::Null;
    metadata.sort_all_objects();
    let text = metadata.to_string();
    metadata[CHECKSUM] = checksum(&text, &parts).into();
    tensors::write(&parts, Some((KEY, metadata.to_string())))
}

/// A file of any metadata with a right checksum, as whoever forges one makes it: for fuzzers.
pub(crate) fn signed(metadata: &str, state: &State) -> Vec<u8> {
    let metadata = serde_json::from_str::<Value>(metadata).ok().filter(Value::is_object);
    metadata.and_then(|metadata| sign(metadata, state).ok()).unwrap_or_default()
}

/// The same for a whole file; nothing if that is no safetensors file with this program's metadata.
pub(crate) fn signed_again(bytes: &[u8]) -> Option<Vec<u8>> {
    let tensors = Tensors::read(bytes).ok()?;
    Some(signed(tensors.metadata(KEY)?, &State { tensors: tensors.all().ok()? }))
}

/// SHA-256 of the metadata's text, in which its own entry is null, and of the tensors in the order of their names.
fn checksum(text: &str, parts: &[Part<'_>]) -> String {
    let mut sha256 = Sha256::new();
    // Every part begins with its length, so that no two contents are the same bytes.
    let mut add = |bytes: &[u8]| {
        sha256.update((bytes.len() as u64).to_le_bytes());
        sha256.update(bytes);
    };
    add(text.as_bytes());
    for Part { name, dtype, shape, bytes } in parts {
        add(name.as_bytes());
        add(format!("{dtype:?} {shape:?}").as_bytes());
        add(bytes);
    }
    hex(&sha256.finalize())
}

/// Reads a checkpoint.
///
/// # Errors
/// A file that cannot be read or is not a checkpoint.
pub(crate) fn load(path: &Path) -> anyhow::Result<Checkpoint> {
    let bytes = read_bytes(path, "checkpoint")?;
    decode(&bytes).with_context(|| path.display().to_string())
}

/// A checkpoint from the bytes of its file.
///
/// # Errors
/// Bytes that are not a checkpoint, or one that has been changed.
pub(crate) fn decode(bytes: &[u8]) -> anyhow::Result<Checkpoint> {
    let tensors = Tensors::read(bytes)?;
    let json = tensors.metadata(KEY).with_context(|| {
        format!(
            "a safetensors file without the metadata `{KEY}`, so not a checkpoint of this program"
        )
    })?;
    let readable = || "the metadata is not readable";
    let mut metadata: Value = serde_json::from_str(json).with_context(readable)?;
    match metadata.get("format") {
        Some(format) if *format == FORMAT => {}
        Some(format) => {
            bail!("a checkpoint of format {format}; this program reads format {FORMAT}")
        }
        None => bail!("the metadata has no format; this program reads format {FORMAT}"),
    }
    let written = metadata.as_object_mut().and_then(|entries| entries.remove(CHECKSUM));
    let entry = |value: &Value| format!("\"{CHECKSUM}\":{value}");
    let matches = written.is_some_and(|written| {
        let text = json.replacen(&entry(&written), &entry(&Value::Null), 1);
        written == checksum(&text, &tensors.parts().collect::<Vec<_>>())
    });
    if !matches {
        bail!(
            "the checksum does not match the content: the file was damaged after it was written; take another \
             copy of it, or another checkpoint of the run"
        );
    }
    let metadata = serde_json::from_value(metadata).with_context(readable)?;
    let state = State { tensors: tensors.all()? };
    if let Some(tensor) = state.not_finite() {
        bail!("`{}` holds a number that is not finite", tensor.name);
    }
    Ok(Checkpoint { metadata, state })
}

/// The checkpoint that a user means: a file, or the last one of a run's folder.
///
/// # Errors
/// Neither a file nor a run's folder with a checkpoint.
pub(crate) fn locate(given: &Path) -> anyhow::Result<PathBuf> {
    if given.is_dir() {
        let last = crate::run::last_checkpoint(given);
        if !last.is_file() {
            bail!(
                "{}: not a run's folder with a checkpoint; expected {}",
                given.display(),
                last.display()
            );
        }
        return Ok(last);
    }
    if !given.exists() {
        bail!("{}: no such run or checkpoint", given.display());
    }
    Ok(given.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lfnn_core::config::OptimizerConfig;
    use lfnn_core::train::{StateData, StateTensor};
    use proptest::prelude::*;

    fn checkpoint() -> Checkpoint {
        let text = crate::recipes::text("digits").unwrap();
        let config = crate::config::read(text, "digits").unwrap();
        let tensor = |name: &str, shape: &[usize], data| StateTensor {
            name: name.into(),
            shape: shape.to_vec(),
            data,
        };
        let state = State {
            tensors: vec![
                tensor("output.weight", &[2, 2], StateData::Real(vec![1.0, -2.5, 0.0, 4.0])),
                tensor("training/step_counter", &[3], StateData::U32(vec![1, 2, u32::MAX])),
            ],
        };
        let mut metadata =
            Metadata::new(config, vec!["a".into(), "b".into()], [8, 8, 1], "d1ce".into());
        metadata.best = Some(Best { epoch: 3, error: 1.5, loss: 0.1 });
        Checkpoint { metadata, state }
    }

    /// The bytes of a checkpoint.
    fn bytes(Checkpoint { metadata, state }: &Checkpoint) -> Vec<u8> {
        encode(metadata, state).unwrap()
    }

    fn message(one: &Checkpoint) -> String {
        decode(&bytes(one)).unwrap_err().to_string()
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_and_its_bytes_do_not_vary() {
        let one = checkpoint();
        assert_eq!(decode(&bytes(&one)).unwrap(), one);
        assert_eq!(bytes(&one), bytes(&one));
    }

    #[test]
    fn a_truncated_checkpoint_is_an_error_wherever_it_ends() {
        let bytes = bytes(&checkpoint());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn another_format_is_refused() {
        let mut one = checkpoint();
        one.metadata.format = 9;
        assert_eq!(message(&one), "a checkpoint of format 9; this program reads format 2");
    }

    #[test]
    fn no_bit_of_a_checkpoint_can_change_unnoticed() {
        let one = checkpoint();
        let mut bytes = bytes(&one);
        for at in 0..8 * bytes.len() {
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(decode(&bytes).is_err(), "bit {} of byte {}", at % 8, at / 8);
            bytes[at / 8] ^= 1 << (at % 8);
        }
        assert_eq!(decode(&bytes).unwrap(), one);
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let mut one = checkpoint();
        one.state.tensors[0].data = StateData::Real(vec![1.0, f32::INFINITY, 0.0, 4.0]);
        assert_eq!(message(&one), "`output.weight` holds a number that is not finite");
    }

    proptest! {
        #[test]
        fn numbers_survive_the_file(loss in prop::num::f64::NORMAL, rate in 1e-9..1.0, seed in any::<u64>()) {
            let mut one = checkpoint();
            one.metadata.best = Some(Best { epoch: 3, error: 1.5, loss });
            one.metadata.config.seed = seed;
            one.metadata.config.training.optimizer =
                OptimizerConfig::Sgd { lr: rate, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
            let read = decode(&bytes(&one)).unwrap();
            prop_assert_eq!(read, one);
        }

        #[test]
        fn random_bytes_are_no_checkpoint_and_no_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn a_checkpoint_with_changed_bytes_never_panics(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let one = checkpoint();
            let mut bytes = bytes(&one);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = decode(&bytes);
        }

        #[test]
        fn a_header_of_random_json_never_panics(header in "\\PC{0,200}") {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes.extend([0; 16]);
            let _ = decode(&bytes);
        }
    }
}
