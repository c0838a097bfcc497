//! NumPy's `.npy` files, in a folder or in a `.npz` archive.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use npyz::{DType, Deserialize, NpyFile, NpyHeader, Order, TypeChar};

use super::{ArrayValues, Arrays, StoredArray, format_error};
use crate::DataError;

/// The `.npy` files of a folder, by their names without the extension.
pub(super) fn folder(path: &Path) -> Result<Arrays, DataError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| DataError::Io { action: "read", path, source }
    };
    let mut arrays = Arrays::new();
    for entry in std::fs::read_dir(path).map_err(io(path))? {
        let file = entry.map_err(io(path))?.path();
        if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"))
            && let Some(name) = file.file_stem().and_then(|stem| stem.to_str())
        {
            let bytes = std::fs::read(&file).map_err(io(&file))?;
            arrays.insert(name.to_owned(), array(&file, name, &bytes)?);
        }
    }
    Ok(arrays)
}

/// The arrays of an archive, by their names.
pub(super) fn archive(path: &Path) -> Result<Arrays, DataError> {
    let io = |source| DataError::Io { action: "read", path: path.to_owned(), source };
    let fail = |error: zip::result::ZipError| {
        format_error(path, "the archive", &format!("damaged ({error})"), "a .npz file")
    };
    let mut zip = zip::ZipArchive::new(File::open(path).map_err(io)?).map_err(fail)?;
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
            return Err(format_error(path, &format!("`{name}`"), &found, "less than fits memory"));
        }
        entry.take(size).read_to_end(&mut bytes).map_err(io)?;
        let array = array(path, &name, &bytes)?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// The array of a `.npy` file's bytes.
fn array(path: &Path, name: &str, bytes: &[u8]) -> Result<StoredArray, DataError> {
    let what = format!("`{name}`");
    let damaged = |error: std::io::Error| {
        format_error(path, &what, &format!("damaged ({error})"), "an array in NumPy's format")
    };
    let mut rest = bytes;
    let header = NpyHeader::from_reader(&mut rest).map_err(damaged)?;
    let DType::Plain(element) = header.dtype() else {
        return Err(format_error(path, &what, "a structured array", "an array of numbers"));
    };
    let shape: Option<Vec<usize>> =
        header.shape().iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let length = |shape: &Vec<usize>| {
        let width = element.num_bytes()?;
        shape.iter().try_fold(width, |bytes, &extent| bytes.checked_mul(extent))
    };
    let Some(shape) = shape.filter(|shape| length(shape) == Some(rest.len())) else {
        let found = format!("{} bytes long", rest.len());
        let expected = format!("the elements of shape {:?}", header.shape());
        return Err(format_error(path, &what, &found, &expected));
    };
    let order = header.order();
    let file = NpyFile::with_header(header, rest);
    let layout = Layout { shape: &shape, order };
    let values = match (element.type_char(), element.num_bytes()) {
        (TypeChar::Uint, Some(1)) => ArrayValues::U8(layout.read(file).map_err(damaged)?),
        (TypeChar::Bool, _) => {
            let flags: Vec<bool> = layout.read(file).map_err(damaged)?;
            ArrayValues::U8(flags.into_iter().map(u8::from).collect())
        }
        (TypeChar::Uint, Some(2)) => layout.whole::<u16>(file).map_err(damaged)?,
        (TypeChar::Uint, Some(4)) => layout.whole::<u32>(file).map_err(damaged)?,
        (TypeChar::Int, Some(1)) => layout.whole::<i8>(file).map_err(damaged)?,
        (TypeChar::Int, Some(2)) => layout.whole::<i16>(file).map_err(damaged)?,
        (TypeChar::Int, Some(4)) => layout.whole::<i32>(file).map_err(damaged)?,
        (TypeChar::Int, Some(8)) => layout.whole::<i64>(file).map_err(damaged)?,
        (TypeChar::Float, Some(4)) => ArrayValues::Real(layout.read(file).map_err(damaged)?),
        (TypeChar::Float, Some(8)) => {
            let wide: Vec<f64> = layout.read(file).map_err(damaged)?;
            ArrayValues::Real(wide.into_iter().map(|value| value as f32).collect())
        }
        _ => {
            let found = format!("of type {element}");
            let expected = "u1, u2, u4, i1, i2, i4, i8, f4, f8 or b1";
            return Err(format_error(path, &what, &found, expected));
        }
    };
    Ok(StoredArray { shape, values })
}

/// How the elements of a file are ordered.
struct Layout<'a> {
    shape: &'a [usize],
    order: Order,
}

impl Layout<'_> {
    /// The elements in C order.
    fn read<T: Deserialize + Clone>(&self, file: NpyFile<&[u8]>) -> std::io::Result<Vec<T>> {
        let values: Vec<T> = file.into_vec()?;
        if self.order == Order::C {
            return Ok(values);
        }
        let array =
            ArrayD::from_shape_vec(IxDyn(self.shape).f(), values).map_err(std::io::Error::other)?;
        Ok(array.iter().cloned().collect())
    }

    fn whole<T: Deserialize + Clone + Into<i64>>(
        &self,
        file: NpyFile<&[u8]>,
    ) -> std::io::Result<ArrayValues> {
        Ok(ArrayValues::Whole(self.read::<T>(file)?.into_iter().map(Into::into).collect()))
    }
}
