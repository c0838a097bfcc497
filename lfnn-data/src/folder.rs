//! Any folder of images: `train/CLASS/*` and `test/CLASS/*` (or `val/CLASS/*`). Classes are the
//! folders of `train/`, sorted by name. Images become RGB.

use std::path::Path;

use crate::decode::{Fit, check_size, size};
use crate::layout::{Files, Layout};
use crate::notes::{LeftOut, Note, Tally};
use crate::{DataError, Dataset, DatasetName, ImageShape, Progress, files};

const NAME: DatasetName = DatasetName::Folder;

pub(crate) fn load(
    folder: &Path,
    image_size: Option<(usize, usize)>,
    progress: &dyn Progress,
) -> Result<Dataset, DataError> {
    image_size.map_or(Ok(()), check_size)?;
    let layout = Layout::read(NAME, folder)?;
    let (height, width) = match (image_size, layout.train.paths.first()) {
        (Some(size), _) => size,
        (None, Some(first)) => size(first)?,
        (None, None) => (0, 0),
    };
    let shape = ImageShape { height, width, channels: 3 };
    let fit = match image_size {
        Some(_) => Fit::Resize(height, width),
        None => Fit::Exact(height, width),
    };
    let decode = |set: &Files, what| set.decode(shape, fit, what, progress).map_err(suggest_size);
    let (train, of_train) = decode(&layout.train, "decoding train")?;
    let (test, of_test) = decode(&layout.test, "decoding test")?;
    let data = Dataset::assemble(NAME, &layout.classes, train, test);
    Ok(data.with_notes(layout.notes).with_notes(Tally::notes([of_train, of_test])))
}

/// Without a size asked for, the first image sets it; another size needs the user's word.
fn suggest_size(error: DataError) -> DataError {
    match error {
        DataError::ImageSize { file, found, expected, .. } => {
            let hint = "the first image's size, because `dataset.image_size` is not set; set it \
                        to resize all images";
            DataError::ImageSize { file, found, expected, hint: hint.to_owned() }
        }
        other => other,
    }
}

pub(crate) fn layout(folder: &Path, train: &Path) -> Result<Layout, DataError> {
    let [test, val] = ["test", "val"].map(|name| folder.join(name));
    let unused =
        (test.is_dir() && val.is_dir()).then_some(Note::Unused { folder: "val", test: "test" });
    let test = if !test.is_dir() && val.is_dir() { &val } else { &test };
    let expected = "a folder for each class, as in train/ (it may also be called val)";
    NAME.need_folder(test, expected)?;

    let mut left_out = [LeftOut::default(), LeftOut::default()];
    let classes = files::subfolders(train, &mut left_out[0])?;
    if classes.is_empty() {
        let expected = "a folder of images for each class".to_owned();
        return Err(DataError::EmptyClass { folder: train.to_owned(), expected });
    }
    // An image of a class that was never trained could only be wrong.
    if let Some(stray) =
        files::subfolders(test, &mut left_out[1])?.into_iter().find(|c| !classes.contains(c))
    {
        let expected = format!("one of the classes of {}", train.display());
        return Err(DataError::format(test, "a folder", format!("`{stray}`"), expected));
    }
    let set = |path: &Path, mut left_out: LeftOut| {
        let mut set = Files::default();
        for (class, label) in classes.iter().zip(0..) {
            set.add_class(&path.join(class), label, &mut left_out)?;
        }
        Ok((set, left_out.note(folder, path)))
    };
    let [of_train, of_test] = left_out;
    let (train, train_note) = set(train, of_train)?;
    let (test, test_note) = set(test, of_test)?;
    let notes = [train_note, test_note, unused].into_iter().flatten().collect();
    Ok(Layout { classes, train, test, notes })
}
