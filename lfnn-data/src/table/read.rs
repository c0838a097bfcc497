//! A CSV or TSV file as text.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::DataError;

/// A file of rows of equal length below a row of names. Every cell is trimmed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<csv::StringRecord>,
    /// Line of the file in which each row begins, from 1.
    lines: Vec<u64>,
}

impl Table {
    /// Reads a file. Fields are separated by tabs in a `.tsv` or `.tab` file, otherwise by whichever
    /// of comma, semicolon and tab the first line has most of.
    ///
    /// # Errors
    /// A file that cannot be read, is not UTF-8, has no names in its first line, names a column twice,
    /// has no rows, or has a row of another length.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
        Self::parse(path, &bytes)
    }

    /// Reads the bytes of a file, which `path` names in errors.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter(path, bytes))
            .trim(csv::Trim::All)
            .from_reader(bytes);
        let fail = |error: csv::Error| problem(path, bytes, &error);
        let columns: Vec<String> =
            reader.headers().map_err(fail)?.iter().map(str::to_owned).collect();
        check_names(path, &columns)?;
        let (mut rows, mut lines) = (Vec::new(), Vec::new());
        for row in reader.records() {
            let row = row.map_err(fail)?;
            lines.push(row.position().map_or(1, |position| line(bytes, position)));
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(DataError::format(path, "the table", "empty", "a row below the names"));
        }
        Ok(Self { path: path.to_owned(), columns, rows, lines })
    }

    /// The names of the columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows: never of a table that was read.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The position of a column.
    ///
    /// # Errors
    /// No column of this name.
    pub(super) fn position(&self, name: &str) -> Result<usize, DataError> {
        self.columns.iter().position(|column| column == name).ok_or_else(|| {
            let known: Vec<&str> = self.columns.iter().take(20).map(String::as_str).collect();
            let more = if self.columns.len() > 20 { ", …" } else { "" };
            let expected = format!("one of {}{more}", known.join(", "));
            DataError::format(&self.path, "a column", format!("not there: `{name}`"), &expected)
        })
    }

    /// The cells of a column, by its position.
    pub(super) fn cells(&self, column: usize) -> impl Iterator<Item = &str> {
        // Every row has as many fields as the header.
        self.rows.iter().map(move |row| row.get(column).unwrap_or_default())
    }

    /// An error about a cell.
    pub(super) fn cell_error(
        &self,
        row: usize,
        column: usize,
        found: &str,
        expected: &str,
    ) -> DataError {
        let (line, name) = (self.lines[row], &self.columns[column]);
        DataError::format(&self.path, format!("line {line}, column `{name}`"), found, expected)
    }
}

fn delimiter(path: &Path, bytes: &[u8]) -> u8 {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if ["tsv", "tab"].iter().any(|tabs| extension.eq_ignore_ascii_case(tabs)) {
        return b'\t';
    }
    let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let count = |&delimiter: &u8| first.iter().filter(|&&byte| byte == delimiter).count();
    // The last of equals is taken, so the comma comes last.
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

fn check_names(path: &Path, columns: &[String]) -> Result<(), DataError> {
    let fail =
        |found: &str| Err(DataError::format(path, "line 1", found, "the names of the columns"));
    if columns.iter().all(|name| name.is_empty()) {
        return fail("empty");
    }
    if columns.iter().all(|name| name.parse::<f64>().is_ok()) {
        return fail("numbers");
    }
    let mut seen = BTreeSet::new();
    match columns.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => fail(&format!("a header with two columns `{twice}`")),
        None => Ok(()),
    }
}

/// The line in which a row begins, from 1. The reader's position is before the line breaks that it skips.
fn line(bytes: &[u8], position: &csv::Position) -> u64 {
    let rest = bytes.get(position.byte() as usize..).unwrap_or_default();
    let skipped = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + skipped.filter(|&&byte| byte == b'\n').count() as u64
}

fn problem(path: &Path, bytes: &[u8], error: &csv::Error) -> DataError {
    let line = |position: &Option<csv::Position>| {
        format!("line {}", position.as_ref().map_or(1, |position| line(bytes, position)))
    };
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let expected = format!("{expected_len}, as many as names in the first line");
            DataError::format(path, line(pos), format!("of length {len}"), &expected)
        }
        csv::ErrorKind::Utf8 { pos, .. } => {
            DataError::format(path, line(pos), "not UTF-8", "text in UTF-8")
        }
        _ => DataError::format(path, "the table", error.to_string(), "comma-separated values"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> Result<Table, DataError> {
        Table::parse(Path::new(name), text.as_bytes())
    }

    #[test]
    fn delimiters_quotes_blanks_and_a_byte_order_mark_are_read() {
        for (name, text) in [
            ("a.csv", "x,name\r\n1,\"a, b\"\r\n2,c\r\n"),
            ("a.csv", "\u{feff}x;name\n1;a, b\n2;c\n"),
            ("a.tsv", "x\tname\n1\ta, b\n2\t c \n"),
        ] {
            let table = parse(name, text).unwrap();
            assert_eq!(table.columns(), ["x", "name"], "{text}");
            assert_eq!(table.cells(1).collect::<Vec<_>>(), ["a, b", "c"], "{text}");
            assert_eq!(table.len(), 2);
        }
    }

    #[test]
    fn what_is_not_a_table_is_an_error_with_file_line_and_expectation() {
        for (text, message) in [
            ("", "t.csv: line 1 is empty; expected the names of the columns"),
            ("1,2\n3,4\n", "t.csv: line 1 is numbers; expected the names of the columns"),
            (
                "a,a\n3,4\n",
                "t.csv: line 1 is a header with two columns `a`; expected the names of the columns",
            ),
            ("a,b\n", "t.csv: the table is empty; expected a row below the names"),
            (
                "a,b\r\n1,2\r\n\r\n3\r\n",
                "t.csv: line 4 is of length 1; expected 2, as many as names in the first line",
            ),
            (
                "a,b\n1,2\n3\n",
                "t.csv: line 3 is of length 1; expected 2, as many as names in the first line",
            ),
        ] {
            assert_eq!(parse("t.csv", text).unwrap_err().to_string(), message);
        }
        let error = Table::parse(Path::new("t.csv"), b"a,b\n1,\xff\n").unwrap_err().to_string();
        assert_eq!(error, "t.csv: line 2 is not UTF-8; expected text in UTF-8");
        let table = parse("t.csv", "a,b\n1,2\n").unwrap();
        let error = table.position("c").unwrap_err().to_string();
        assert_eq!(error, "t.csv: a column is not there: `c`; expected one of a, b");
    }
}
