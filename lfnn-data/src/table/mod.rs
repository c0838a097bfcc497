//! Tables: CSV and TSV files with a header, one example in each row.
//!
//! [`Table`] is a file as text. [`TableEncoding`] is how its columns become numbers: found once on the
//! training table, kept with the trained network, and used for every later table.

mod encoding;
mod read;

pub use encoding::{ColumnEncoding, ColumnKind, MissingCells, TableEncoding, TargetEncoding};
pub use read::Table;

/// Which columns of a table are used, and as what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableColumns {
    /// The columns to predict.
    pub target: Vec<String>,
    /// The columns to predict from; all others where none are named.
    pub features: Option<Vec<String>>,
    /// Whether the target is numbers (a regression), and not one column of classes.
    pub regression: bool,
    /// What an empty cell among the features becomes.
    pub missing: MissingCells,
}
