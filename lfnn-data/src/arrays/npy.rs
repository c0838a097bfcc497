//! NumPy's `.npy` files, in a folder or in a `.npz` archive.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use super::{ArrayValues, Arrays, StoredArray, elements};
use crate::DataError;

/// The `.npy` files of a folder, by their names without the extension.
pub(super) fn folder(path: &Path) -> Result<Arrays, DataError> {
    let mut arrays = Arrays::new();
    for entry in std::fs::read_dir(path).map_err(DataError::io("list", path))? {
        let file = entry.map_err(DataError::io("list", path))?.path();
        if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"))
            && file.file_stem().is_some_and(|stem| stem.to_str().is_some())
        {
            arrays.append(&mut single(&file)?);
        }
    }
    Ok(arrays)
}

/// The array of one file, by its name without the extension.
pub(super) fn single(path: &Path) -> Result<Arrays, DataError> {
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
    Ok(Arrays::from([(name.to_owned(), array(path, name, &bytes)?)]))
}

/// The arrays of an archive, by their names.
pub(super) fn archive(path: &Path) -> Result<Arrays, DataError> {
    let fail = |error: zip::result::ZipError| {
        DataError::format(path, "the archive", format!("damaged ({error})"), "a .npz file")
    };
    let mut zip = zip::ZipArchive::new(File::open(path).map_err(DataError::io("read", path))?)
        .map_err(fail)?;
    let mut arrays = Arrays::new();
    for index in 0..zip.len() {
        let entry = zip.by_index(index).map_err(fail)?;
        let name = entry.name().map_err(fail)?;
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else { continue };
        // A size from outside: memory for it may not be there.
        let (mut bytes, size) = (Vec::new(), entry.size());
        let room = usize::try_from(size).ok().and_then(|size| bytes.try_reserve_exact(size).ok());
        if room.is_none() {
            let found = format!("{size} bytes long");
            return Err(DataError::format(
                path,
                format!("`{name}`"),
                &found,
                "less than fits memory",
            ));
        }
        entry.take(size).read_to_end(&mut bytes).map_err(DataError::io("read", path))?;
        let array = array(path, &name, &bytes)?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// The header of a `.npy` file.
struct Header<'a> {
    /// Order of bytes, kind and width of an element: `<f8`.
    element: &'a str,
    /// Whether the first axis is contiguous, and not the last.
    fortran_order: bool,
    shape: Vec<usize>,
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// Reads the header in versions 1 to 3 of the format; none if it is damaged.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"\x93NUMPY")?;
        let ([major, _minor], rest) = rest.split_first_chunk()?;
        let (length, rest) = if *major == 1 {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        } else {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::try_from(u32::from_le_bytes(*length)).ok()?, rest)
        };
        let (text, data) = rest.split_at_checked(length)?;
        let text = std::str::from_utf8(text).ok()?;
        // A dictionary in Python's notation, always with these three keys.
        let value = |key: &str| -> Option<&'a str> {
            let (_, after) = text.split_once(&format!("'{key}'"))?;
            Some(after.trim_start().strip_prefix(':')?.trim_start())
        };
        let (element, _) = value("descr")?.strip_prefix('\'')?.split_once('\'')?;
        let (shape, _) = value("shape")?.strip_prefix('(')?.split_once(')')?;
        let extents = shape.split(',').map(str::trim).filter(|extent| !extent.is_empty());
        let shape = extents.map(|extent| extent.parse().ok()).collect::<Option<_>>()?;
        let fortran_order = value("fortran_order")?.starts_with("True");
        Some(Self { element, fortran_order, shape, data })
    }
}

/// The array of a `.npy` file's bytes.
fn array(path: &Path, name: &str, bytes: &[u8]) -> Result<StoredArray, DataError> {
    let what = format!("`{name}`");
    let damaged = || DataError::format(path, &what, "damaged", "an array in NumPy's format");
    let header = Header::read(bytes).ok_or_else(damaged)?;
    let Header { element, fortran_order, ref shape, data } = header;
    let is_big = element.starts_with('>');
    let kind = element.trim_start_matches(['<', '>', '|', '=']);
    let width: usize = match kind {
        "u1" | "i1" | "b1" => 1,
        "u2" | "i2" => 2,
        "u4" | "i4" | "f4" => 4,
        "i8" | "f8" => 8,
        _ => {
            let found = format!("of type {element}");
            let expected = "u1, u2, u4, i1, i2, i4, i8, f4, f8 or b1";
            return Err(DataError::format(path, &what, &found, expected));
        }
    };
    let length = shape.iter().try_fold(width, |bytes, &extent| bytes.checked_mul(extent));
    if length != Some(data.len()) {
        let found = format!("{} bytes long", data.len());
        let expected = format!("the elements of shape {shape:?}");
        return Err(DataError::format(path, &what, &found, &expected));
    }
    let values = match kind {
        "u1" | "b1" => ArrayValues::U8(data.to_vec()),
        "u2" => ArrayValues::U16(elements(data, is_big, u16::from_le_bytes)),
        "u4" => ArrayValues::Whole(elements(data, is_big, |x| u32::from_le_bytes(x).into())),
        "i1" => ArrayValues::Whole(elements(data, is_big, |x| i8::from_le_bytes(x).into())),
        "i2" => ArrayValues::Whole(elements(data, is_big, |x| i16::from_le_bytes(x).into())),
        "i4" => ArrayValues::Whole(elements(data, is_big, |x| i32::from_le_bytes(x).into())),
        "i8" => ArrayValues::Whole(elements(data, is_big, i64::from_le_bytes)),
        "f4" => ArrayValues::Real(elements(data, is_big, f32::from_le_bytes)),
        _ => ArrayValues::Real(elements(data, is_big, |x| f64::from_le_bytes(x) as f32)),
    };
    let values = match values {
        values if !fortran_order => Some(values),
        ArrayValues::U8(values) => in_c_order(shape, values).map(ArrayValues::U8),
        ArrayValues::U16(values) => in_c_order(shape, values).map(ArrayValues::U16),
        ArrayValues::Whole(values) => in_c_order(shape, values).map(ArrayValues::Whole),
        ArrayValues::Real(values) => in_c_order(shape, values).map(ArrayValues::Real),
    };
    let values = values.ok_or_else(damaged)?;
    Ok(StoredArray { shape: header.shape, values, name: name.to_owned() })
}

/// Elements in Fortran's order in C's; none if they are not as many as the shape has.
fn in_c_order<T: Copy>(shape: &[usize], values: Vec<T>) -> Option<Vec<T>> {
    let array = ArrayD::from_shape_vec(IxDyn(shape).f(), values).ok()?;
    Some(array.iter().copied().collect())
}
