//! Checkpoints: the model of `lfnn-core` with what a run keeps beside it, in one safetensors file.
//!
//! What a run keeps are sections of the file's metadata. They hold no times, names of machines or numbers of threads.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use lfnn_core::model::tensors::Tensors;
use lfnn_core::model::{Model, ModelDescription, ModelError, file};
use lfnn_core::train::State;
use lfnn_cpu::available_memory;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::RunConfig;
use crate::files;
use crate::format::hex;

/// The section of the metadata that describes the model.
const MODEL: &str = "model";

/// What a checkpoint says beside its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metadata {
    /// The network, its inputs and what it predicts.
    pub(crate) model: ModelDescription,
    /// The whole configuration.
    pub(crate) config: RunConfig,
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
    /// Its error, in percent; in a regression its loss.
    pub(crate) error: f64,
    /// Its loss, which decides between equal errors.
    pub(crate) loss: f64,
}

/// A checkpoint of a run in memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    /// What it says beside its tensors.
    pub(crate) metadata: Metadata,
    /// Its tensors.
    pub(crate) state: State,
}

/// A model in memory, of a run or of any other program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SavedModel {
    /// The model.
    pub(crate) model: Model,
    /// What its run says; none where another program trained it.
    pub(crate) metadata: Option<Metadata>,
}

impl Metadata {
    /// The metadata of a run that begins.
    pub(crate) fn new(config: RunConfig, model: ModelDescription, data: String) -> Self {
        Self { model, config, data, epoch: 0, batch: 0, best: None, stopped_early: false }
    }
}

/// A checkpoint as the bytes of its file.
///
/// # Errors
/// None is expected.
pub(crate) fn encode(metadata: &Metadata, state: &State) -> anyhow::Result<Vec<u8>> {
    let sections = match serde_json::to_value(metadata)? {
        Value::Object(sections) => sections,
        _ => Map::new(),
    };
    Ok(file::encode(&metadata.model, state, sections)?)
}

/// A file of any metadata with a right checksum, as whoever forges one makes it: for fuzzers.
pub(crate) fn signed(metadata: &str, state: &State) -> Vec<u8> {
    let metadata = serde_json::from_str::<Value>(metadata).ok().filter(Value::is_object);
    metadata.and_then(|metadata| file::sign(metadata, state).ok()).unwrap_or_default()
}

/// The same for a whole file; nothing if that is no safetensors file with this program's metadata.
pub(crate) fn signed_again(bytes: &[u8]) -> Option<Vec<u8>> {
    let tensors = Tensors::read(bytes).ok()?;
    Some(signed(tensors.metadata(file::KEY)?, &State { tensors: tensors.all().ok()? }))
}

/// The bytes of a file of tensors, which leave room for the numbers in them.
fn read_bytes(path: &Path, what: &str) -> anyhow::Result<Vec<u8>> {
    files::read(path, what, available_memory().unwrap_or(usize::MAX) / 2)
}

/// What `read` takes from a file of tensors.
///
/// # Errors
/// A file that cannot be read, is too large for this machine or is no safetensors file; as `read` has it.
pub(crate) fn read_tensors<T>(
    path: &Path,
    what: &str,
    read: impl FnOnce(&Tensors<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let bytes = read_bytes(path, what)?;
    let found = Tensors::read(&bytes).map_err(Into::into).and_then(|tensors| read(&tensors));
    found.with_context(|| path.display().to_string())
}

/// Reads the checkpoint of a run.
///
/// # Errors
/// A file that cannot be read or is not a checkpoint of a run.
pub(crate) fn load(path: &Path) -> anyhow::Result<Checkpoint> {
    let SavedModel { model, metadata } = load_model(path)?;
    let without_run = || {
        anyhow!(
            "a model without a run: another program trained it; expected a checkpoint of `train`"
        )
    };
    let metadata = metadata.ok_or_else(without_run).with_context(|| path.display().to_string())?;
    Ok(Checkpoint { metadata, state: model.state })
}

/// Reads a model: the checkpoint of a run, or what another program wrote with the library.
///
/// # Errors
/// A file that cannot be read or is not a model.
pub(crate) fn load_model(path: &Path) -> anyhow::Result<SavedModel> {
    let bytes = read_bytes(path, "checkpoint")?;
    decode(&bytes).with_context(|| path.display().to_string())
}

/// The same with the SHA-256 of the file.
///
/// # Errors
/// As [`load_model`].
pub(crate) fn load_with_digest(path: &Path) -> anyhow::Result<(SavedModel, String)> {
    let bytes = read_bytes(path, "checkpoint")?;
    let digest = hex(&Sha256::digest(&bytes));
    Ok((decode(&bytes).with_context(|| path.display().to_string())?, digest))
}

/// A model from the bytes of its file.
///
/// # Errors
/// Bytes that are not a model, or one that has been changed.
pub(crate) fn decode(bytes: &[u8]) -> anyhow::Result<SavedModel> {
    let (model, mut sections) = file::decode(bytes)?;
    if sections.is_empty() {
        return Ok(SavedModel { model, metadata: None });
    }
    sections.insert(MODEL.to_owned(), serde_json::to_value(&model.description)?);
    let metadata: Metadata =
        serde_json::from_value(Value::Object(sections)).map_err(ModelError::Metadata)?;
    if metadata.config.network != model.description.network {
        bail!("the metadata describes two networks: `config.network` is not `model.network`");
    }
    Ok(SavedModel { model, metadata: Some(metadata) })
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
    use lfnn_core::model::{InputElements, ModelTarget};
    use lfnn_core::train::{StateData, StateTensor};
    use proptest::prelude::*;

    fn checkpoint() -> Checkpoint {
        let text = crate::recipes::text("digits").unwrap();
        let config: RunConfig = crate::config::read(text, "digits").unwrap();
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
        let model = ModelDescription {
            network: config.network.clone(),
            method: config.method.clone(),
            input: [8, 8, 1],
            elements: InputElements::Bytes,
            target: ModelTarget::Classes { names: vec!["a".into(), "b".into()] },
            preprocessing: Value::Null,
        };
        let mut metadata = Metadata::new(config, model, "d1ce".into());
        metadata.best = Some(Best { epoch: 3, error: 1.5, loss: 0.1 });
        Checkpoint { metadata, state }
    }

    /// The bytes of a checkpoint.
    fn bytes(Checkpoint { metadata, state }: &Checkpoint) -> Vec<u8> {
        encode(metadata, state).unwrap()
    }

    fn read(bytes: &[u8]) -> Checkpoint {
        let SavedModel { model, metadata } = decode(bytes).unwrap();
        Checkpoint { metadata: metadata.unwrap(), state: model.state }
    }

    fn message(one: &Checkpoint) -> String {
        decode(&bytes(one)).unwrap_err().to_string()
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_and_its_bytes_do_not_vary() {
        let one = checkpoint();
        assert_eq!(read(&bytes(&one)), one);
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
        let one = checkpoint();
        let tensors = bytes(&one);
        let tensors = Tensors::read(&tensors).unwrap();
        let text = tensors.metadata(file::KEY).unwrap().replace("\"format\":3", "\"format\":9");
        let message = decode(&signed(&text, &one.state)).unwrap_err().to_string();
        assert_eq!(message, "a checkpoint of format 9; this program reads format 3");
    }

    #[test]
    fn a_model_of_another_program_is_a_model_without_a_run() {
        let Checkpoint { metadata, state } = checkpoint();
        let model = Model { description: metadata.model, state };
        let mut bytes = Vec::new();
        model.write(&mut bytes).unwrap();
        assert_eq!(decode(&bytes).unwrap(), SavedModel { model, metadata: None });
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
        assert_eq!(read(&bytes), one);
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
            prop_assert_eq!(read(&bytes(&one)), one);
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
