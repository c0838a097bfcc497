//! Any folder of images: `train/CLASS/*` and `test/CLASS/*` (or `val/CLASS/*`), or `CLASS/*` alone, of which a share
//! is tested on. Classes are the folders of `train/` or of the whole, sorted by name. Images become RGB.

use std::path::Path;

use crate::declaration::{DataKind, Declaration, Origin};
use crate::image_folder::{Files, ImageFolder, Layout, train_folder};
use crate::notes::{LeftOut, Note};
use crate::{DataError, files};

pub(super) static DATASET: Declaration = Declaration {
    name: "folder",
    origin: Origin::Path {
        kind: DataKind::Images,
        hint: "an image folder is your own: train/CLASS/ and test/CLASS/ with image files, or CLASS/ alone",
    },
    size: None,
    reader: &ImageFolder { layout, image_size: None },
};

/// Folders that are parts of a data set and no classes.
const PARTS: [&str; 5] = ["test", "val", "valid", "validation", "training"];

fn layout(dataset: &Declaration, folder: &Path) -> Result<Layout, DataError> {
    let mut left_out = LeftOut::default();
    let classes = files::subfolders(folder, &mut left_out)?;
    let has_parts = classes.iter().any(|class| PARTS.contains(&class.as_str()));
    if folder.join("train").exists() || classes.is_empty() || has_parts {
        return parts(dataset, folder, &train_folder(dataset, folder)?);
    }
    let mut train = Files::default();
    for (class, label) in classes.iter().zip(0..) {
        train.add_class(&folder.join(class), label, &mut left_out)?;
    }
    let notes = left_out.note(folder, folder).into_iter().collect();
    Ok(Layout { classes, train, test: None, notes })
}

fn parts(dataset: &Declaration, folder: &Path, train: &Path) -> Result<Layout, DataError> {
    let [test, val] = ["test", "val"].map(|name| folder.join(name));
    let unused =
        (test.is_dir() && val.is_dir()).then_some(Note::Unused { folder: "val", test: "test" });
    let test = if !test.is_dir() && val.is_dir() { &val } else { &test };
    let expected = "a folder for each class, as in train/ (it may also be called val)";
    dataset.need_folder(test, expected)?;

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
    Ok(Layout { classes, train, test: Some(test), notes })
}
