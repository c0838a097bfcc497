//! Any folder of images: `train/CLASS/*`, `test/CLASS/*` and perhaps `val/CLASS/*`, or `CLASS/*` alone, of which a share
//! is tested on. Classes are the folders of `train/` or of the whole, sorted by name. Without `test/`, `val/` is tested
//! on.

use std::path::Path;

use crate::declaration::{DataKind, Declaration, Origin};
use crate::image_folder::{Files, ImageFolder, Layout};
use crate::notes::{LeftOut, Note};
use crate::{DataError, files};

pub(super) static DATASET: Declaration = Declaration {
    name: "folder",
    origin: Origin::Path {
        kind: DataKind::Images,
        hint: "an image folder is your own: train/CLASS/ and test/CLASS/ with image files, or CLASS/ alone",
    },
    size: None,
    reader: &ImageFolder { layout, shape: None },
};

/// Folders that are parts of a data set and no classes, by their usual names.
const TRAIN: [&str; 2] = ["train", "training"];
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];
const TEST: [&str; 2] = ["test", "testing"];

fn layout(set: &Declaration, folder: &Path) -> Result<Layout, DataError> {
    let mut left_out = LeftOut::default();
    let inside = files::subfolders(folder, &mut left_out)?;
    let part = |names: &[&'static str]| {
        names.iter().copied().find(|name| inside.iter().any(|found| found == name))
    };
    let parts = [&TRAIN[..], &VALIDATION, &TEST].map(part);
    if parts == [None; 3] && !inside.is_empty() && !folder.join(TRAIN[0]).exists() {
        let mut train = Files::default();
        for (class, label) in inside.iter().zip(0..) {
            train.add_class(&folder.join(class), label, &mut left_out)?;
        }
        let notes = left_out.note(folder, folder).into_iter().collect();
        return Ok(Layout { classes: inside, train, validation: None, test: None, notes });
    }
    for unused in inside.iter().filter(|name| !parts.contains(&Some(name.as_str()))) {
        left_out.add(&folder.join(unused), "sub-folder");
    }
    let [train, validation, test] = parts;
    let train = train.unwrap_or(TRAIN[0]);
    set.need_folder(&folder.join(train), "a folder for each class")?;
    let (validation, test) = match (validation, test) {
        (validation, Some(test)) => (validation, test),
        (Some(validation), None) => (None, validation),
        (None, None) => {
            let expected = "a folder for each class, as in train/ (it may also be called val)";
            return Err(set.missing(&folder.join(TEST[0]), expected));
        }
    };
    let mut notes: Vec<Note> = left_out.note(folder, folder).into_iter().collect();
    if !TEST.contains(&test) {
        notes.push(Note::ValidationIsTest { folder: test.to_owned() });
    }

    let mut in_train = LeftOut::default();
    let train_folder = folder.join(train);
    let classes = files::subfolders(&train_folder, &mut in_train)?;
    if classes.is_empty() {
        let expected = "a folder of images for each class".to_owned();
        return Err(DataError::EmptyClass { folder: train_folder, expected });
    }
    let mut read = |name: &str, mut left_out: LeftOut| {
        let (path, mut files) = (folder.join(name), Files::default());
        for (class, label) in classes.iter().zip(0..) {
            files.add_class(&path.join(class), label, &mut left_out)?;
        }
        notes.extend(left_out.note(folder, &path));
        Ok::<_, DataError>(files)
    };
    let train = read(train, in_train)?;
    let mut other = |name: &str| {
        let (path, mut left_out) = (folder.join(name), LeftOut::default());
        let inside = files::subfolders(&path, &mut left_out)?;
        // An image of a class that was never trained could only be wrong.
        match inside.into_iter().find(|class| !classes.contains(class)) {
            None => read(name, left_out),
            Some(stray) => {
                let expected = format!("one of the classes of {}", train_folder.display());
                Err(DataError::format(&path, "a folder", format!("`{stray}`"), expected))
            }
        }
    };
    let validation = validation.map(&mut other).transpose()?;
    let test = Some(other(test)?);
    Ok(Layout { classes, train, validation, test, notes })
}
