//! The paper's values: `paper.yaml`, with their sources.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Everything that is quoted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paper {
    pub(super) table1: Quoted<[f64; 2]>,
    /// Methods that are not in it, of the source of most of its rows.
    pub(super) beside_table1: Quoted<[f64; 2]>,
    pub(super) table2: Quoted<Sweep>,
    pub(super) table3: Quoted<Sweep>,
}

/// A table: for each column, for each method.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quoted<T> {
    /// Its number in the paper.
    pub(super) source: String,
    /// What a reader should know of it; may be empty.
    pub(super) note: String,
    pub(super) columns: BTreeMap<String, BTreeMap<String, T>>,
}

/// Errors for 10, 20, … 100 % leaders.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sweep {
    pub(super) test: Vec<f64>,
    pub(super) train: Vec<f64>,
}

impl<T> Quoted<T> {
    /// The value of a method in a column.
    pub(super) fn get(&self, column: &str, method: &str) -> Option<&T> {
        self.columns.get(column)?.get(method)
    }
}

/// Reads the values.
///
/// # Errors
/// None is expected: the file is part of the program, and a test reads it.
pub(super) fn read() -> anyhow::Result<Paper> {
    crate::config::read(include_str!("paper.yaml"), "paper.yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_read_and_sweeps_agree_with_table_1_at_70_percent() {
        let paper = read().unwrap();
        for (column, methods) in &paper.table2.columns {
            for (method, sweep) in methods {
                assert_eq!((sweep.test.len(), sweep.train.len()), (10, 10), "{column} {method}");
                let [test, train] = *paper.table1.get(column, method).unwrap();
                assert_eq!((sweep.test[6], sweep.train[6]), (test, train), "{column} {method}");
            }
        }
        assert_eq!(paper.table1.columns.values().map(BTreeMap::len).sum::<usize>(), 36);
        assert_eq!(paper.beside_table1.columns.values().map(BTreeMap::len).sum::<usize>(), 8);
        assert_eq!(paper.table3.columns["tiny-imagenet-workers"]["lfnn-l"].test.len(), 10);
    }
}
