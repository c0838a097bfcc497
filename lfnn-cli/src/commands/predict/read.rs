//! The inputs of `predict`: images, folders of them, tables, arrays and standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use lfnn_data::{
    DataKind, ExampleFormat, Examples, Table, Targets, image_files, load_image, permute_pixels,
};

use crate::checkpoint::SavedModel;
use crate::data::{example_format, print_notes};
use crate::failure::{Failure, Result};
use crate::output::{Level, Output};

/// The name of the standard input.
const STANDARD_INPUT: &str = "-";

/// Reads what a model takes.
pub(super) struct Reader<'a> {
    format: ExampleFormat,
    /// The seed of a permutation of pixels.
    permutation: Option<u64>,
    output: &'a Output,
}

/// The examples of the files that can be read, one after the other, if there are any; and how many each file has.
pub(super) type ReadFiles = (Option<Examples>, Vec<(PathBuf, Result<usize>)>);

impl<'a> Reader<'a> {
    /// The reader for a model.
    ///
    /// # Errors
    /// The preprocessing of another program.
    pub(super) fn new(saved: &SavedModel, output: &'a Output) -> anyhow::Result<Self> {
        let format = example_format(saved)?;
        let config = saved.metadata.as_ref().map(|metadata| &metadata.config);
        let permuted = config.filter(|config| config.dataset.permute_pixels);
        Ok(Self { permutation: permuted.map(|config| config.seed), format, output })
    }

    /// What the examples are.
    pub(super) fn kind(&self) -> DataKind {
        self.format.kind
    }

    /// The name of a predicted class: that of the column, in a table.
    pub(super) fn class(&self) -> &str {
        let column = self.format.encoding.as_ref().and_then(|table| table.target.columns().first());
        column.map_or("class", String::as_str)
    }

    /// Reads all files. What is wrong with one of them is its own result.
    pub(super) fn read_all(&self, paths: &[PathBuf]) -> ReadFiles {
        let (mut all, mut read): ReadFiles = (None, Vec::new());
        for (path, found) in self.files(paths) {
            let examples = found.and_then(|()| self.read(&path));
            let count = examples.and_then(|examples| {
                let count = examples.len();
                match &mut all {
                    Some(all) => all.append(examples)?,
                    none => *none = Some(examples),
                }
                Ok(count)
            });
            read.push((path, count));
        }
        if let (Some(seed), Some(images)) = (self.permutation, &mut all) {
            permute_pixels(images, seed);
        }
        (all, read)
    }

    /// The files that are meant: a folder of images stands for those in it.
    fn files(&self, paths: &[PathBuf]) -> Vec<(PathBuf, Result<()>)> {
        let mut files = Vec::new();
        for path in paths {
            if self.format.kind != DataKind::Images || !path.is_dir() {
                files.push((path.clone(), Ok(())));
                continue;
            }
            match image_files(path) {
                Ok((inside, left_out)) => {
                    print_notes(left_out.as_slice(), self.output);
                    files.extend(inside.into_iter().map(|file| (file, Ok(()))));
                }
                Err(error) => files.push((path.clone(), Err(error.into()))),
            }
        }
        files
    }

    /// The examples of a file, whose targets mean nothing.
    fn read(&self, path: &Path) -> Result<Examples> {
        let is_standard_input = path.as_os_str() == STANDARD_INPUT;
        let inputs = match self.format.kind {
            DataKind::Table if is_standard_input => {
                let mut bytes = Vec::new();
                std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
                self.format.table_inputs(&Table::parse(Path::new("standard input"), &bytes)?)?
            }
            DataKind::Table => self.format.table_inputs(&Table::read(path)?)?,
            _ if is_standard_input => {
                let message =
                    "standard input is read as a table, but this network was not trained on one";
                return Err(Failure::Usage(anyhow!("{STANDARD_INPUT}: {message}")));
            }
            DataKind::Arrays => self.format.array_inputs(path)?,
            DataKind::Images => {
                let image = load_image(path, self.format.shape, self.format.depth())?;
                if image.is_cut && self.output.level() >= Level::Normal {
                    let text = "has 16 bits per channel; 8 of them are used";
                    self.output.note(&format!("note: {} {text}", path.display()));
                }
                image.pixels
            }
        };
        let count = inputs.len() / self.format.shape.values().max(1);
        Ok(Examples::new(self.format.shape, inputs, Targets::Classes(vec![0; count]))?)
    }
}
