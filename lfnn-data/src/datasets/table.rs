//! Any CSV or TSV file: an example in each row below the names of the columns.

use std::path::Path;

use lfnn_core::data::Split;

use crate::declaration::{DataKind, Declaration, Origin, Reader, Request};
use crate::notes::number_of;
use crate::table::TargetEncoding;
use crate::{DataError, Dataset, Table, TableEncoding, TestPart};

pub(super) static DATASET: Declaration = Declaration {
    name: "table",
    origin: Origin::Path {
        kind: DataKind::Table,
        hint: "a table is your own: a CSV or TSV file with the names of the columns in its first line",
    },
    size: None,
    reader: &TableFile,
};

struct TableFile;

/// That the columns that a setting names are there.
fn check_named(key: &'static str, names: &[String], table: &Table) -> Result<(), DataError> {
    let Some(name) = names.iter().find(|name| !table.columns().contains(name)) else {
        return Ok(());
    };
    let (file, columns) = (table.path().display(), table.columns().join(", "));
    let expected = format!("a column of {file}: {columns}");
    Err(DataError::Setting { key, found: format!("`{name}`"), expected })
}

impl Reader for TableFile {
    fn load(&self, request: &Request<'_>) -> Result<Dataset, DataError> {
        let Request { set, source, path, .. } = *request;
        let columns = &source.columns;
        let table = Table::read(path)?;
        check_named("dataset.target", &columns.target, &table)?;
        check_named("dataset.features", columns.features.as_deref().unwrap_or_default(), &table)?;
        let target = TargetEncoding::find(&table, columns)?;
        let targets = target.read(&table)?;
        let (parts, test_table) = match &source.test {
            Some(TestPart::File(file)) => {
                let all = (0..table.len() as u32).collect();
                (Split { train: all, validation: Vec::new() }, Some(Table::read(file)?))
            }
            _ => (source.split_test(&targets)?, None),
        };
        let rows: Vec<usize> = parts.train.iter().map(|&row| row as usize).collect();
        let split = targets.select(&rows).hold_out(source.validation, source.seed)?;
        let train: Vec<u32> = split.train.iter().map(|&at| parts.train[at as usize]).collect();
        targets.check_varied(path, target.columns(), &train)?;

        let encoding = TableEncoding::with_target(&table, columns, target, &train)?;
        let notes = encoding.notes(&table, &train)?;
        let all = encoding.examples(&table)?;
        let (train, test) = match test_table {
            Some(table) => (all, encoding.examples(&table)?),
            None => (all.select(&parts.train), all.select(&parts.validation)),
        };
        let targets = encoding.target.names();
        let name = set.name.to_owned();
        let encoding = Some(encoding);
        Ok(Dataset { name, targets, train, validation: None, test, encoding, notes })
    }

    fn describe(&self, _: &Declaration, path: &Path) -> Result<String, DataError> {
        let table = Table::read(path)?;
        let columns = number_of(table.columns().len(), "column");
        Ok(format!("{} of {columns}", number_of(table.len(), "row")))
    }
}
