//! Any arrays of inputs and targets, as NumPy and others write them.

use std::path::Path;

use crate::declaration::{DataKind, Declaration, Origin, Reader, Request};
use crate::notes::number_of;
use crate::{ArrayDataset, DataError, Dataset, Examples, TestPart};

pub(super) static DATASET: Declaration = Declaration {
    name: "arrays",
    origin: Origin::Path {
        kind: DataKind::Arrays,
        hint: "arrays are your own: x_train, y_train, x_test and y_test in a .npz or .safetensors file, or as .npy \
               files in a folder",
    },
    size: None,
    reader: &ArrayFile,
};

struct ArrayFile;

impl Reader for ArrayFile {
    fn load(&self, request: &Request<'_>) -> Result<Dataset, DataError> {
        let Request { set, source, path, .. } = *request;
        let refuse = |found: &str, expected: &str| {
            let (found, expected) = (found.to_owned(), expected.to_owned());
            Err(DataError::Setting { key: "dataset.test", found, expected })
        };
        if let Some(TestPart::File(_)) = source.test {
            return refuse("a file", "a share between 0 and 1: arrays are in one file or folder");
        }
        let ArrayDataset { train, test } = ArrayDataset::read(path)?;
        if source.test.is_some() && test.is_some() {
            return refuse("a share", "nothing: the arrays have a test part");
        }
        let names = train.target_names(path, source.columns.regression)?;
        let all = train.into_examples(path, &names)?;
        let (train, test): (Examples, Examples) = match test {
            Some(test) => (all, test.into_examples(path, &names)?),
            None => {
                let parts = source.split_test(&all.targets)?;
                (all.select(&parts.train), all.select(&parts.validation))
            }
        };
        let trained = train.hold_out(source.validation, source.seed)?.train;
        train.targets.check_varied(path, names.names(), &trained)?;
        let (name, notes) = (set.name.to_owned(), Vec::new());
        Ok(Dataset { name, targets: names, train, validation: None, test, encoding: None, notes })
    }

    fn describe(&self, _: &Declaration, path: &Path) -> Result<String, DataError> {
        let ArrayDataset { train, test } = ArrayDataset::read(path)?;
        let count = |shape: &[usize]| number_of(shape.first().copied().unwrap_or(0), "example");
        let (train, test) = (count(&train.x.shape), test.map(|test| count(&test.x.shape)));
        let test = test.unwrap_or_else(|| "no test part".to_owned());
        Ok(format!("{train} to train on, {test} to test on"))
    }
}
