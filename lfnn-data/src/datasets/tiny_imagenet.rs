//! Tiny ImageNet in its standard layout, whole or a subset of it:
//!
//! * `wnids.txt`: the classes, one a line, in the order of their labels (without it: the folders of
//!   `train/`, sorted); `words.txt`: their names in words, if it is there
//! * `train/WNID/images/*.JPEG`
//! * `val/images/*.JPEG` and `val/val_annotations.txt` (file, class, a box that is not used), which
//!   serve as the test set, because the labels of the published test images are not published
//!
//! Images are 64×64; the grey ones among them are expanded to RGB.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::declaration::{DatasetSize, Declaration, Origin};
use crate::image_folder::{Files, ImageFolder, Layout, empty};
use crate::notes::{LeftOut, Note};
use crate::{DataError, ImageShape, files};

const SHAPE: ImageShape = ImageShape { height: 64, width: 64, channels: 3 };

pub(super) static DATASET: Declaration = Declaration {
    name: "tiny-imagenet",
    origin: Origin::Manual {
        folder: "tiny-imagenet-200",
        hint: "unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip in the data folder, or point \
               `dataset.path` at it",
    },
    size: Some(DatasetSize {
        shape: SHAPE,
        classes: 200,
        train: 100_000,
        test: 10_000,
    }),
    reader: &ImageFolder { layout, shape: Some(SHAPE) },
};

fn layout(set: &Declaration, folder: &Path) -> Result<Layout, DataError> {
    let train = folder.join("train");
    set.need_folder(&train, "a folder for each class")?;
    let mut left_out = LeftOut::default();
    let wnids = wnids(folder, &train, &mut left_out)?;
    let labels = wnids.iter().zip(0u32..).map(|(wnid, label)| (wnid.as_str(), label)).collect();
    let mut images = Files::default();
    for (wnid, label) in wnids.iter().zip(0..) {
        images.add_class(&train.join(wnid).join("images"), label, &mut left_out)?;
    }
    let (test, test_note) = val_files(set, folder, &labels)?;
    let notes = left_out.note(folder, &train).into_iter().chain(test_note).collect();
    let (classes, test) = (names(folder, &wnids)?, Some(test));
    Ok(Layout { classes, train: images, validation: None, test, notes })
}

fn wnids(folder: &Path, train: &Path, left_out: &mut LeftOut) -> Result<Vec<String>, DataError> {
    let list = folder.join("wnids.txt");
    let folders = files::subfolders(train, left_out)?;
    let wnids: Vec<String> = if list.is_file() {
        let text = files::read_text(&list)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let listed: Vec<String> = lines.map(str::to_owned).collect();
        let known: HashSet<&String> = listed.iter().collect();
        for unlisted in folders.iter().filter(|name| !known.contains(name)) {
            left_out.add(&train.join(unlisted), "unlisted class folder");
        }
        listed
    } else {
        folders
    };
    let mut seen = HashSet::new();
    for (line, wnid) in wnids.iter().enumerate() {
        if wnid.contains(['/', '\\']) || wnid.starts_with('.') || !seen.insert(wnid) {
            let expected = "the name of a folder of train/, each once";
            let what = format!("class {}", line + 1);
            return Err(DataError::format(&list, what, format!("`{wnid}`"), expected));
        }
    }
    if wnids.is_empty() {
        let expected = "a folder of images for each class".to_owned();
        return Err(DataError::EmptyClass { folder: train.to_owned(), expected });
    }
    Ok(wnids)
}

/// The classes' names in words, or their identifiers where `words.txt` has none.
fn names(folder: &Path, wnids: &[String]) -> Result<Vec<String>, DataError> {
    let list = folder.join("words.txt");
    let text = if list.is_file() { files::read_text(&list)? } else { String::new() };
    let words: HashMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once('\t')).collect();
    let name = |wnid: &String| words.get(wnid.as_str()).map_or(wnid.clone(), |w| w.trim().into());
    Ok(wnids.iter().map(name).collect())
}

/// The validation images in the order of the annotation file, and what is not used of their folder.
fn val_files(
    set: &Declaration,
    root: &Path,
    labels: &HashMap<&str, u32>,
) -> Result<(Files, Option<Note>), DataError> {
    let val = root.join("val");
    let (folder, list) = (val.join("images"), val.join("val_annotations.txt"));
    set.need_folder(&folder, "the validation images")?;
    if !list.is_file() {
        return Err(set.missing(&list, "the classes of the validation images"));
    }
    let mut left_out = LeftOut::default();
    let images = files::image_files(&folder, &mut left_out)?;
    let mut unnamed: HashSet<PathBuf> = images.into_iter().collect();
    let mut test = Files::default();
    for (number, line) in files::read_text(&list)?.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |found: &str, expected: &str| {
            DataError::format(&list, format!("line {}", number + 1), format!("`{found}`"), expected)
        };
        let mut fields = line.split('\t');
        let (Some(file), Some(wnid)) = (fields.next(), fields.next()) else {
            return Err(wrong(line, "a file, a tab and a class"));
        };
        let label = labels.get(wnid.trim());
        test.labels.push(*label.ok_or_else(|| wrong(wnid, "one of the classes of train/"))?);
        // Taking it from the listing also keeps a file name with a path in it from leading away.
        let path = unnamed.take(&folder.join(file));
        test.paths.push(path.ok_or_else(|| wrong(file, "a file of val/images, each once"))?);
    }
    if let Some(path) = unnamed.into_iter().min() {
        let found = format!("without {}", path.file_name().unwrap_or_default().display());
        return Err(DataError::format(&list, "its list", found, "each file of val/images"));
    }
    if test.paths.is_empty() {
        return Err(empty(&folder));
    }
    Ok((test, left_out.note(root, &val)))
}
