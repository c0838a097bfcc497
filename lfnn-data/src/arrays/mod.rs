//! Arrays: `.npz` archives, folders of `.npy` files, and safetensors files, as other programs write them.

mod examples;
mod npy;
mod safetensors_file;

use std::collections::BTreeMap;
use std::path::Path;

use crate::DataError;

/// Numbers as they are stored, up to the widths that training keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum ArrayValues {
    /// Bytes: images, or labels below 256.
    U8(Vec<u8>),
    /// Whole numbers of 16 bits: deep images, or labels.
    U16(Vec<u16>),
    /// Other whole numbers.
    Whole(Vec<i64>),
    /// Real numbers, in single precision whatever the file holds.
    Real(Vec<f32>),
}

/// An array in C order: the last axis is contiguous.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredArray {
    /// Extent of each axis.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: ArrayValues,
    /// Its name in the file, for errors.
    pub name: String,
}

/// Inputs and targets of one part of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayPart {
    /// `[examples, …]`, two to four axes.
    pub x: StoredArray,
    /// `[examples]` or `[examples, values]`.
    pub y: StoredArray,
}

/// The arrays of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayDataset {
    /// What is trained on.
    pub train: ArrayPart,
    /// What is tested on; none if the file has one part alone.
    pub test: Option<ArrayPart>,
}

/// The names under which other programs store inputs and targets: `x_train` is Keras', `X_train` that of
/// scikit-learn's documentation.
const TRAIN_NAMES: [(&str, &str); 7] = [
    ("x_train", "y_train"),
    ("X_train", "y_train"),
    ("train_x", "train_y"),
    ("train_images", "train_labels"),
    ("x", "y"),
    ("X", "y"),
    ("data", "target"),
];
const TEST_NAMES: [(&str, &str); 4] = [
    ("x_test", "y_test"),
    ("X_test", "y_test"),
    ("test_x", "test_y"),
    ("test_images", "test_labels"),
];

impl ArrayDataset {
    /// Reads a `.npz` or `.safetensors` file, or a folder of `.npy` files.
    ///
    /// # Errors
    /// A file that cannot be read or is none of these, arrays of other names, of element types that are
    /// not numbers, or of shapes that do not go together.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let mut arrays = read_all(path)?;
        let train = take_part(path, &mut arrays, &TRAIN_NAMES)?;
        let test = take_part(path, &mut arrays, &TEST_NAMES)?;
        let Some(train) = train else {
            let names: Vec<String> = arrays.into_keys().collect();
            let found = match &names[..] {
                [] => "none".to_owned(),
                names => names.join(", "),
            };
            let expected = "x_train and y_train, and x_test and y_test if there is a test part";
            return Err(DataError::format(path, "the list of arrays", &found, expected));
        };
        if let Some(test) = &test
            && (test.x.shape[1..] != train.x.shape[1..] || test.y.shape[1..] != train.y.shape[1..])
        {
            let found = format!("{:?} and {:?}", test.x.shape, test.y.shape);
            let expected = format!(
                "the shapes of the training part, {:?} and {:?}, but for the first extent",
                train.x.shape, train.y.shape
            );
            return Err(DataError::format(path, "the test part", &found, &expected));
        }
        Ok(Self { train, test })
    }
}

/// The names under which inputs without targets are found, the first that is there; otherwise the only array.
const INPUT_NAMES: [&str; 8] =
    ["x", "X", "x_test", "X_test", "test_x", "test_images", "data", "inputs"];

impl StoredArray {
    /// Reads the inputs of examples, without targets: from a `.npy`, `.npz` or `.safetensors` file, or a folder of
    /// `.npy` files.
    ///
    /// # Errors
    /// A file that cannot be read or is none of these, or one without inputs or with inputs of another number of axes.
    pub fn read_inputs(path: &Path) -> Result<Self, DataError> {
        let mut arrays = read_all(path)?;
        let named = INPUT_NAMES.iter().find_map(|&name| arrays.remove(name));
        let array = match (named, arrays.len()) {
            (Some(array), _) => Some(array),
            (None, 1) => arrays.pop_first().map(|(_, array)| array),
            (None, _) => None,
        };
        let Some(array) = array else {
            let names: Vec<String> = arrays.into_keys().collect();
            let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let expected = "x, x_test or one array";
            return Err(DataError::format(path, "the list of arrays", found, expected));
        };
        array.check_axes(path)?;
        Ok(array)
    }

    /// That there are examples of one to three axes.
    fn check_axes(&self, path: &Path) -> Result<(), DataError> {
        if (2..=4).contains(&self.shape.len()) && !self.shape.contains(&0) {
            return Ok(());
        }
        let expected = "[examples, features], [examples, height, width] or \
                        [examples, height, width, channels], none of them 0";
        let found = format!("of shape {:?}", self.shape);
        Err(DataError::format(path, format!("`{}`", self.name), found, expected))
    }
}

type Arrays = BTreeMap<String, StoredArray>;

fn read_all(path: &Path) -> Result<Arrays, DataError> {
    if path.is_dir() {
        return npy::folder(path);
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "npz" => npy::archive(path),
        "npy" => npy::single(path),
        "safetensors" => {
            safetensors_file::read(path, &std::fs::read(path).map_err(DataError::io("read", path))?)
        }
        _ => {
            let expected = "a .npz or .safetensors file, or a folder of .npy files";
            Err(DataError::format(path, "the file's extension", format!("`{extension}`"), expected))
        }
    }
}

fn take_part(
    path: &Path,
    arrays: &mut Arrays,
    names: &[(&str, &str)],
) -> Result<Option<ArrayPart>, DataError> {
    let there = |&&(x, y): &&(&str, &str)| arrays.contains_key(x) && arrays.contains_key(y);
    let Some(&(x_name, y_name)) = names.iter().find(there) else { return Ok(None) };
    let (Some(x), Some(y)) = (arrays.remove(x_name), arrays.remove(y_name)) else {
        return Ok(None);
    };
    x.check_axes(path)?;
    if !(1..=2).contains(&y.shape.len()) || y.shape[0] != x.shape[0] {
        let examples = x.shape[0];
        let expected =
            format!("[{examples}] or [{examples}, values], as many as `{x_name}` has examples");
        let found = format!("of shape {:?}", y.shape);
        return Err(DataError::format(path, format!("`{y_name}`"), found, &expected));
    }
    Ok(Some(ArrayPart { x, y }))
}

/// Elements of `N` bytes each, decoded from the little-endian order; `is_big` says that they are stored in the other.
fn elements<const N: usize, T>(data: &[u8], is_big: bool, decode: impl Fn([u8; N]) -> T) -> Vec<T> {
    let in_order = |mut bytes: [u8; N]| {
        if is_big {
            bytes.reverse();
        }
        decode(bytes)
    };
    data.as_chunks::<N>().0.iter().map(|&bytes| in_order(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use safetensors::tensor::{Dtype, TensorView};

    use super::*;

    /// A file as `numpy.save` writes it.
    fn npy(element: &str, fortran_order: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let order = if fortran_order { "True" } else { "False" };
        let text =
            format!("{{'descr': '{element}', 'fortran_order': {order}, 'shape': {shape}, }}");
        let text = format!("{text:<117}\n");
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), data].concat()
    }

    /// An archive as `numpy.savez_compressed` writes it.
    fn npz(folder: &Path, arrays: &[(&str, Vec<u8>)]) -> std::path::PathBuf {
        let path = folder.join("data.npz");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated);
        for (name, bytes) in arrays {
            zip.start_file(format!("{name}.npy"), options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    #[test]
    fn keras_archive_of_images_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = npz(
            folder.path(),
            &[
                (
                    "x_train",
                    npy("|u1", false, "(3, 2, 2)", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
                ),
                ("y_train", npy("|u1", false, "(3,)", &[2, 0, 1])),
                ("x_test", npy("|u1", false, "(1, 2, 2)", &[0; 4])),
                ("y_test", npy("|u1", false, "(1,)", &[1])),
            ],
        );
        let data = ArrayDataset::read(&path).unwrap();
        assert_eq!(data.train.x.shape, [3, 2, 2]);
        assert_eq!(data.train.x.values, ArrayValues::U8((1..=12).collect()));
        assert_eq!(data.train.y.values, ArrayValues::U8(vec![2, 0, 1]));
        assert_eq!(data.test.unwrap().y.values, ArrayValues::U8(vec![1]));
    }

    #[test]
    fn a_folder_of_wide_and_column_major_arrays_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: Vec<u8>| std::fs::write(folder.path().join(name), bytes).unwrap();
        // [[1, 2, 3], [4, 5, 6]], column by column; labels with their high bytes first.
        let columns: Vec<u8> =
            [1.0f64, 4.0, 2.0, 5.0, 3.0, 6.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let labels: Vec<u8> = [-1i64, 300].iter().flat_map(|x| x.to_be_bytes()).collect();
        write("X.npy", npy("<f8", true, "(2, 3)", &columns));
        write("y.npy", npy(">i8", false, "(2,)", &labels));
        write("notes.txt", b"not an array".to_vec());
        let data = ArrayDataset::read(folder.path()).unwrap();
        assert_eq!(data.train.x.values, ArrayValues::Real(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(data.train.y.values, ArrayValues::Whole(vec![-1, 300]));
        assert_eq!(data.test, None);
    }

    #[test]
    fn a_safetensors_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.safetensors");
        let x: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let y: Vec<u8> = [7u16, 9].iter().flat_map(|y| y.to_le_bytes()).collect();
        let views = [
            ("x", TensorView::new(Dtype::F32, vec![2, 1], &x).unwrap()),
            ("y", TensorView::new(Dtype::U16, vec![2], &y).unwrap()),
        ];
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let data = ArrayDataset::read(&path).unwrap();
        assert_eq!(data.train.x.values, ArrayValues::Real(vec![1.5, -2.0]));
        assert_eq!(data.train.y.values, ArrayValues::U16(vec![7, 9]));
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_names_file_array_and_shape() {
        let folder = tempfile::tempdir().unwrap();
        let x = || npy("|u1", false, "(2, 2)", &[1, 2, 3, 4]);
        let error = |arrays: &[(&str, Vec<u8>)]| {
            let path = npz(folder.path(), arrays);
            ArrayDataset::read(&path).unwrap_err().to_string()
        };
        assert!(
            error(&[("a", x())]).contains("the list of arrays is a; expected x_train and y_train")
        );
        let y = npy("|u1", false, "(3,)", &[0; 3]);
        let text = error(&[("x_train", x()), ("y_train", y)]);
        assert!(text.contains("`y_train` is of shape [3]; expected [2] or [2, values]"), "{text}");
        let mut cut = x();
        cut.pop();
        let text = error(&[("x_train", cut), ("y_train", x())]);
        assert!(
            text.contains("`x_train` is 3 bytes long; expected the elements of shape [2, 2]"),
            "{text}"
        );
        let text = error(&[("x_train", b"none".to_vec()), ("y_train", x())]);
        assert!(text.contains("`x_train` is damaged"), "{text}");
        let path = folder.path().join("data.txt");
        std::fs::write(&path, "x").unwrap();
        let text = ArrayDataset::read(&path).unwrap_err().to_string();
        assert!(text.contains("the file's extension is `txt`; expected a .npz"), "{text}");
    }
}
