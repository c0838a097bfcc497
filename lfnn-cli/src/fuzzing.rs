//! What fuzzers call: files from outside on their way through the commands that read them. No result is given:
//! what must not happen is a panic, an abort, or memory that nobody has.
//!
//! Not for use by programs, and without any promise of stability.

use std::path::Path;
use std::sync::LazyLock;

use lfnn_core::model::file;
use lfnn_core::model::tensors::Tensors;
use lfnn_core::train::State;
use lfnn_core::train::Trainer;
use lfnn_cpu::Cpu;

use crate::backend::{BackendArgs, BackendKind};
use crate::checkpoint::{self, Metadata};
use crate::cli::{ExportArgs, ExportFormat, PredictArgs, StepArgs};
use crate::config::{self, Request, RunConfig};
use crate::data::LoadedData;
use crate::ensemble::EnsembleArgs;
use crate::output::{Level, Output};
use crate::resolved::{ResolvedRun, Resources};
use crate::{commands, digest, train};

/// A network that is built and run in no time.
const SMALL: &str = "
recipe: small
dataset: {name: digits, validation: 10}
network:
  units:
    - layers: [{conv: {filters: 4, kernel: 3}}, batch_norm: {}, relu]
      workers: {readout: {count: 2, grid: 2}}
      transition: [{max_pool: {kernel: 2}}]
    - layers: [flatten]
      workers: {neurons: {count: 2}}
training: {batch_size: 4, epochs: 1, optimizer: {sgd: {lr: 0.1}}}
";

/// A file of `train --config`: resolved, written and read again, its network built and its step planned. Says
/// whether all of that could be done, as the other functions do.
///
/// # Panics
/// If a configuration is another one after it was written and read.
pub fn configuration(text: &[u8]) -> bool {
    let folder = Folder::new();
    let file = folder.write("fuzz.yaml", text);
    let request = Request { file: Some(&file), ..Request::default() };
    let Ok(config) = config::resolve(&request) else { return false };
    let yaml = config.to_yaml().expect("a configuration as YAML");
    let again: RunConfig = config::read(&yaml, "again").expect("what was written can be read");
    assert_eq!(again, config);
    let resources = Resources { data_root: folder.path().to_owned(), backend: cpu() };
    // The others need no files.
    !config.dataset.name.needs_path()
        && train::dry_run::show(&ResolvedRun { config, resources }, &silent()).is_ok()
}

/// A checkpoint: the metadata of one if it begins with `{`, otherwise the file. Its checksum is made right.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let folder = Folder::new();
    let file = match std::str::from_utf8(bytes) {
        Ok(metadata) if metadata.starts_with('{') => checkpoint::signed(metadata, &small().1),
        _ => checkpoint::signed_again(bytes).unwrap_or_else(|| bytes.to_vec()),
    };
    let run = folder.write("fuzz.safetensors", &file);
    let image = folder.write("image.pgm", &[b"P5 8 8 255 ".as_slice(), &[99; 64]].concat());
    let ensemble = EnsembleArgs::default();
    let predict = PredictArgs { run: run.clone(), inputs: vec![image], json: true, ensemble };
    let mut good = commands::predict::command(&predict, cpu(), &silent()).is_ok();
    for format in [ExportFormat::Onnx, ExportFormat::Safetensors] {
        let export = ExportArgs { run: run.clone(), format, workers: false, ensemble, out: None };
        good &= commands::export::command(&export, &silent()).is_ok();
    }
    good
}

/// The files of `step`: two lengths of 16 bits, then the configuration, the weights and the batch.
pub fn step(bytes: &[u8]) -> bool {
    let Some(([a, b, c, d], rest)) = bytes.split_first_chunk() else { return false };
    let [first, second] =
        [[*a, *b], [*c, *d]].map(|length| usize::from(u16::from_le_bytes(length)));
    let Some((config, rest)) = rest.split_at_checked(first) else { return false };
    let Some((weights, batch)) = rest.split_at_checked(second) else { return false };
    let folder = Folder::new();
    let step = StepArgs {
        config: folder.write("config.yaml", config),
        weights: folder.write("weights.safetensors", weights),
        batch: folder.write("batch.safetensors", batch),
        out: folder.path().join("out.safetensors"),
    };
    commands::step::command(&step, cpu(), &silent()).is_ok()
}

/// A checkpoint whose checksum is made right, whatever was changed in it; nothing if it is none.
pub fn signed(bytes: &[u8]) -> Option<Vec<u8>> {
    checkpoint::signed_again(bytes)
}

/// The metadata of a small network's checkpoint, and its tensors: what seeds are made of.
///
/// # Panics
/// Not expected.
pub fn small() -> &'static (String, State) {
    static SMALL_NETWORK: LazyLock<(String, State)> = LazyLock::new(|| {
        let config: RunConfig = config::read(SMALL, "small").expect("a configuration");
        let data = LoadedData::load(&config, Path::new("."), &silent()).expect("the digits");
        let setup = train::setup(&config, &data.normalization);
        let cpu = Cpu::new(Some(1)).expect("a thread");
        let trainer = Trainer::from_images(&cpu, &setup, data.images(), &data.train)
            .expect("a small network");
        let metadata = Metadata::new(config.clone(), data.model(&setup), digest::of(&data));
        let state = trainer.state().expect("its state");
        let bytes = checkpoint::encode(&metadata, &state).expect("a checkpoint");
        let tensors = Tensors::read(&bytes).expect("what was written can be read");
        (tensors.metadata(file::KEY).expect("its metadata").to_owned(), state)
    });
    &SMALL_NETWORK
}

/// A folder for one input.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).expect("a file in a temporary folder");
        path
    }
}

fn cpu() -> BackendArgs {
    BackendArgs { kind: BackendKind::Cpu, threads: Some(1), streams: None }
}

fn silent() -> Output {
    Output::new(Level::Silent)
}
