//! A saved case: its configuration and its tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lfnn_core::config::{LeadershipConfig, NetworkConfig, TrainingConfig};
use lfnn_core::method::{Method, by_name};
use lfnn_core::train::{State, StateData, StateTensor};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// A case of `tests/vectors`.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) method: &'static Method,
    /// Channels, height, width.
    pub(crate) input: [usize; 3],
    pub(crate) classes: usize,
    pub(crate) network: NetworkConfig,
    pub(crate) leadership: LeadershipConfig,
    pub(crate) training: TrainingConfig,
    tensors: BTreeMap<String, Values>,
}

/// A tensor of a case.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pub(crate) shape: Vec<usize>,
    pub(crate) real: Vec<f32>,
    pub(crate) whole: Vec<u32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Names of all cases.
pub(crate) fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> = files
        .filter_map(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

impl Case {
    pub(crate) fn load(name: &str) -> Self {
        let path = folder().join(name);
        let text = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let config: Value = serde_json::from_str(&text).unwrap();
        let part = |key: &str| config[key].clone();
        let bytes = std::fs::read(path.with_extension("safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let words = view.data().chunks_exact(4).map(|c| <[u8; 4]>::try_from(c).unwrap());
                let (mut real, mut whole) = (Vec::new(), Vec::new());
                match view.dtype() {
                    Dtype::F32 => real = words.map(f32::from_le_bytes).collect(),
                    Dtype::I32 => whole = words.map(u32::from_le_bytes).collect(),
                    other => panic!("{name} is {other:?}"),
                }
                (name, Values { shape: view.shape().to_vec(), real, whole })
            })
            .collect();
        Self {
            name: name.into(),
            method: by_name(config["method"].as_str().unwrap()).unwrap(),
            input: serde_json::from_value(part("input")).unwrap(),
            classes: serde_json::from_value(part("classes")).unwrap(),
            network: serde_json::from_value(part("network")).unwrap(),
            leadership: serde_json::from_value(part("leadership")).unwrap(),
            training: serde_json::from_value(part("training")).unwrap(),
            tensors,
        }
    }

    pub(crate) fn get(&self, name: &str) -> &Values {
        let missing = || panic!("{} has no tensor `{name}`", self.name);
        self.tensors.get(name).unwrap_or_else(missing)
    }

    /// Parameters, buffers and feedback matrices before the step.
    pub(crate) fn start(&self) -> State {
        let mut state = self.below("weights/");
        state.tensors.extend(self.below("feedback/").tensors.into_iter().map(|mut matrix| {
            matrix.name = format!("feedback/{}", matrix.name);
            matrix
        }));
        state
    }

    /// The tensors below a prefix, which is cut off.
    pub(crate) fn below(&self, prefix: &str) -> State {
        let tensors = self
            .tensors
            .iter()
            .filter_map(|(name, values)| {
                Some(StateTensor {
                    name: name.strip_prefix(prefix)?.into(),
                    shape: values.shape.clone(),
                    data: StateData::Real(values.real.clone()),
                })
            })
            .collect();
        State { tensors }
    }
}
