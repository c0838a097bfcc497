//! Further examples like those of a data set: with targets to evaluate a trained network, without to use it.

use std::path::{Path, PathBuf};

use crate::decode::Fit;
use crate::image_folder::Files;
use crate::notes::{LeftOut, Note};
use crate::{
    ArrayDataset, ArrayValues, BitDepth, DataError, DataKind, Examples, ImageShape, Inputs,
    Progress, StoredArray, Table, TableEncoding, TargetNames, files,
};

/// What the examples of a data set are, without the examples.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleFormat {
    /// What they are.
    pub kind: DataKind,
    /// The shape of each.
    pub shape: ImageShape,
    /// Whether their numbers are bytes, and not real numbers.
    pub bytes: bool,
    /// What is predicted.
    pub targets: TargetNames,
    /// How the columns of a table become numbers.
    pub encoding: Option<TableEncoding>,
}

impl ExampleFormat {
    /// All examples of another file or folder, with their targets: the rows of a table; the test part of arrays, or
    /// their only part; the images of a folder with a folder for each class. Images are resized.
    ///
    /// # Errors
    /// A file or folder that is missing or damaged, or that has other columns, shapes or classes.
    pub fn examples(
        &self,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<(Examples, Vec<Note>), DataError> {
        match (self.kind, &self.encoding) {
            (DataKind::Table, Some(encoding)) => {
                Ok((encoding.examples(&Table::read(path)?)?, Vec::new()))
            }
            (DataKind::Images, _) => self.class_folders(path, progress),
            _ => {
                let ArrayDataset { train, test } = ArrayDataset::read(path)?;
                let part = test.unwrap_or(train);
                self.check(path, &part.x)?;
                Ok((part.into_examples(path, &self.targets)?, Vec::new()))
            }
        }
    }

    /// Inputs without targets, of the rows of a table.
    ///
    /// # Errors
    /// A column that is not there, or a cell that is not what the encoding expects.
    pub fn table_inputs(&self, table: &Table) -> Result<Inputs, DataError> {
        let Some(encoding) = &self.encoding else {
            let expected = format!("{}, as in training", self.kind.expected());
            return Err(DataError::format(table.path(), "the file", "a table", expected));
        };
        Ok(Inputs::Reals(encoding.features(table)?.into_raw_vec_and_offset().0))
    }

    /// Inputs without targets, of arrays.
    ///
    /// # Errors
    /// A file that cannot be read, or an array of another shape.
    pub fn array_inputs(&self, path: &Path) -> Result<Inputs, DataError> {
        let x = StoredArray::read_inputs(path)?;
        self.check(path, &x)?;
        x.into_inputs(path)
    }

    /// That the examples of an array have the shape and the type of these.
    fn check(&self, path: &Path, x: &StoredArray) -> Result<(), DataError> {
        let bytes = matches!(x.values, ArrayValues::U8(_));
        if bytes != self.bytes {
            let text = |bytes: bool| if bytes { "bytes (u8)" } else { "real numbers" };
            let expected = format!("{}, as in training", text(self.bytes));
            return Err(DataError::format(path, format!("`{}`", x.name), text(bytes), expected));
        }
        let text = |ImageShape { height, width, channels }: ImageShape| {
            format!("{height} × {width} × {channels}")
        };
        let found = x.image_shape();
        if found == self.shape {
            return Ok(());
        }
        let what = format!("the shape of an example of `{}`", x.name);
        let expected = format!("{}, as in training", text(self.shape));
        Err(DataError::format(path, what, text(found), expected))
    }

    /// The images of a folder with a folder for each class. A class may have none.
    fn class_folders(
        &self,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<(Examples, Vec<Note>), DataError> {
        let mut left_out = LeftOut::default();
        let (classes, mut images) = (self.targets.classes(), Files::default());
        for folder in files::subfolders(path, &mut left_out)? {
            let Some(label) = classes.iter().position(|class| *class == folder) else {
                let what = format!("the folder `{folder}`");
                let expected = format!("a folder for each class: {}", classes.join(", "));
                return Err(DataError::format(path, what, "no class of the data set", expected));
            };
            images.add_class(&path.join(folder), label as u32, &mut left_out)?;
        }
        if images.paths.is_empty() {
            let expected = format!("a folder for each class: {}", classes.join(", "));
            return Err(DataError::EmptyClass { folder: path.to_owned(), expected });
        }
        let fit = Fit::Resize(self.shape.height, self.shape.width);
        let format = (self.shape, self.depth());
        let (examples, tally) = images.decode(format, fit, "decoding images", progress)?;
        let note = left_out.note(path.parent().unwrap_or(path), path);
        // Whether grey images become RGB or the other way round is known from training.
        Ok((examples, note.into_iter().chain(tally.cut(self.depth())).collect()))
    }

    /// How deep the channels of images are.
    pub fn depth(&self) -> BitDepth {
        if self.bytes { BitDepth::Eight } else { BitDepth::Sixteen }
    }
}

/// The image files of a folder and of those inside it, in the order of their names, and what else is in them.
///
/// # Errors
/// A folder that cannot be read, or one without images.
pub fn image_files(folder: &Path) -> Result<(Vec<PathBuf>, Option<Note>), DataError> {
    let (mut found, mut left_out) = (Vec::new(), LeftOut::default());
    files::image_files_below(folder, &mut found, &mut left_out)?;
    if found.is_empty() {
        return Err(crate::image_folder::empty(folder));
    }
    Ok((found, left_out.note(folder.parent().unwrap_or(folder), folder)))
}
