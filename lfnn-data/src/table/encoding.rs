//! How the columns of a table become numbers.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, ArrayViewMut1, Axis, Slice};
use serde::{Deserialize, Serialize};

use super::{Table, TableColumns};
use crate::{DataError, Examples, ImageShape, Inputs, Note, TargetNames, Targets};

/// More categories than this are more likely names or free text than categories.
const MAX_CATEGORIES: usize = 256;

/// What an empty cell among the features becomes. Also `NA`, `N/A`, `NaN`, `null` and `?` are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingCells {
    /// An error.
    #[default]
    Error,
    /// The mean of the column's numbers in the training rows; no category.
    Mean,
}

/// How a table's columns become features and targets. It is found on one table and fits every later one
/// with the same columns, in any order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableEncoding {
    /// The columns to predict from, in order.
    pub features: Vec<ColumnEncoding>,
    /// The columns to predict.
    pub target: TargetEncoding,
}

/// A column to predict from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnEncoding {
    /// The column's name.
    pub name: String,
    /// What it becomes.
    pub kind: ColumnKind,
}

/// What a column becomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// One feature.
    Number {
        /// What an empty cell becomes; none where it is an error.
        fill: Option<f32>,
    },
    /// One feature for each of these categories: 1 where it is the cell's, otherwise 0.
    Categories {
        /// The categories, in order.
        names: Vec<String>,
        /// Whether a cell may be empty, which is no category.
        may_be_empty: bool,
    },
}

/// The columns to predict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetEncoding {
    /// A column of classes.
    Classes {
        /// The column's name.
        column: String,
        /// The classes, in the order of their labels: of numbers by value, otherwise by name.
        names: Vec<String>,
    },
    /// Columns of numbers.
    Values {
        /// The columns' names.
        columns: Vec<String>,
    },
}

impl TableEncoding {
    /// Finds the encoding for a table. `train` are the rows whose means fill empty cells; categories and
    /// classes are those of all rows.
    ///
    /// # Errors
    /// A column that is not there or used twice, an empty cell where that is an error, a target that is
    /// not what the task needs, and a column of text that has too many different values.
    pub fn find(table: &Table, columns: &TableColumns, train: &[u32]) -> Result<Self, DataError> {
        Self::with_target(table, columns, TargetEncoding::find(table, columns)?, train)
    }

    /// As [`TableEncoding::find`], with a target that is known.
    pub(crate) fn with_target(
        table: &Table,
        columns: &TableColumns,
        target: TargetEncoding,
        train: &[u32],
    ) -> Result<Self, DataError> {
        let targets: BTreeSet<&str> = columns.target.iter().map(String::as_str).collect();
        let names: Vec<&str> = match &columns.features {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => {
                let all = table.columns().iter().map(String::as_str);
                all.filter(|name| !targets.contains(name)).collect()
            }
        };
        if names.is_empty() {
            let expected = "at least one column to predict from";
            return Err(DataError::format(table.path(), "the list of features", "empty", expected));
        }
        let mut seen = targets.clone();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name)) {
            let what = format!("column `{twice}`");
            return Err(DataError::format(table.path(), &what, "used twice", "each column once"));
        }
        let features = names
            .into_iter()
            .map(|name| ColumnEncoding::find(table, name, columns.missing, train))
            .collect::<Result<_, _>>()?;
        Ok(Self { features, target })
    }

    /// Number of features: one for each column of numbers and for each category.
    pub fn width(&self) -> usize {
        self.features.iter().map(ColumnEncoding::width).sum()
    }

    /// A name for each feature: that of the column and, of a category, `COLUMN=CATEGORY`.
    pub fn feature_names(&self) -> Vec<String> {
        let names = |ColumnEncoding { name, kind }: &ColumnEncoding| match kind {
            ColumnKind::Number { .. } => vec![name.clone()],
            ColumnKind::Categories { names: categories, .. } => {
                categories.iter().map(|category| format!("{name}={category}")).collect()
            }
        };
        self.features.iter().flat_map(names).collect()
    }

    /// The features of every row, `[rows, width]`.
    ///
    /// # Errors
    /// A column that is not there, a cell that is not what the encoding expects, or an empty one where
    /// that is an error.
    pub fn features(&self, table: &Table) -> Result<Array2<f32>, DataError> {
        let mut all = Array2::zeros((table.len(), self.width()));
        let mut start = 0;
        for column in &self.features {
            let position = table.position(&column.name)?;
            for (row, cell) in table.cells(position).enumerate() {
                let mut features = all.row_mut(row);
                let own = Slice::from(start..start + column.width());
                let own = features.slice_axis_mut(Axis(0), own);
                column
                    .write(cell, own)
                    .map_err(|expected| table.cell_error(row, position, &shown(cell), &expected))?;
            }
            start += column.width();
        }
        Ok(all)
    }

    /// The rows of a table as examples.
    ///
    /// # Errors
    /// A column that is not there, or a cell that is not what the encoding expects.
    pub fn examples(&self, table: &Table) -> Result<Examples, DataError> {
        let targets = self.target.read(table)?;
        let (features, _) = self.features(table)?.into_raw_vec_and_offset();
        let shape = ImageShape { height: 1, width: 1, channels: self.width() };
        Examples::new(shape, Inputs::Reals(features), targets)
    }

    /// What a user may not expect of a table in this encoding; `train` are the rows to train on.
    pub(crate) fn notes(&self, table: &Table, train: &[u32]) -> Result<Vec<Note>, DataError> {
        let (mut categories, mut filled, mut constant) = (Vec::new(), Vec::new(), Vec::new());
        for ColumnEncoding { name, kind } in &self.features {
            let cells: Vec<&str> = table.cells(table.position(name)?).collect();
            if let ColumnKind::Categories { names, .. } = kind {
                categories.push((name.clone(), names.len()));
            }
            let missing = cells.iter().filter(|cell| is_missing(cell)).count();
            if missing > 0 {
                filled.push((name.clone(), missing));
            }
            let mut of_train = train.iter().map(|&row| cells[row as usize]);
            let first = of_train.next();
            if of_train.all(|cell| Some(cell) == first) {
                constant.push(name.clone());
            }
        }
        let counted = |columns: Vec<(String, usize)>, note: fn(_) -> Note| {
            (!columns.is_empty()).then(|| note(columns))
        };
        let notes = [
            counted(categories, |columns| Note::Categories { columns }),
            counted(filled, |columns| Note::Filled { columns }),
            (!constant.is_empty()).then_some(Note::Constant { columns: constant }),
        ];
        Ok(notes.into_iter().flatten().collect())
    }
}

impl ColumnEncoding {
    fn find(
        table: &Table,
        name: &str,
        missing: MissingCells,
        train: &[u32],
    ) -> Result<Self, DataError> {
        let position = table.position(name)?;
        let cells: Vec<&str> = table.cells(position).collect();
        let fills = missing == MissingCells::Mean;
        if let Some(row) = cells.iter().position(|cell| is_missing(cell)).filter(|_| !fills) {
            let expected = "a value (`missing: mean` fills empty cells)";
            return Err(table.cell_error(row, position, &shown(cells[row]), expected));
        }
        let present = || cells.iter().filter(|cell| !is_missing(cell));
        let kind = if present().all(|cell| number(cell).is_some()) {
            let numbers =
                train.iter().filter_map(|&row| number(cells[row as usize])).map(f64::from);
            let (sum, count) = numbers.fold((0.0, 0u32), |(sum, count), x| (sum + x, count + 1));
            let fill = fills.then(|| (sum / f64::from(count.max(1))) as f32);
            ColumnKind::Number { fill }
        } else {
            let names = sorted(present().copied());
            if names.len() > MAX_CATEGORIES {
                let what = format!("column `{name}`");
                let found = format!("text of {} different values", names.len());
                let expected = format!(
                    "numbers, or at most {MAX_CATEGORIES} categories; `features` can leave it out"
                );
                return Err(DataError::format(table.path(), &what, &found, &expected));
            }
            ColumnKind::Categories { names, may_be_empty: fills }
        };
        Ok(Self { name: name.to_owned(), kind })
    }

    fn width(&self) -> usize {
        match &self.kind {
            ColumnKind::Number { .. } => 1,
            ColumnKind::Categories { names, .. } => names.len(),
        }
    }

    /// Writes the features of a cell over zeros; the error is what was expected.
    fn write(&self, cell: &str, mut features: ArrayViewMut1<'_, f32>) -> Result<(), String> {
        match &self.kind {
            ColumnKind::Number { fill } => {
                let value = if is_missing(cell) { *fill } else { number(cell) };
                features[0] = value.ok_or("a number")?;
            }
            ColumnKind::Categories { may_be_empty: true, .. } if is_missing(cell) => {}
            ColumnKind::Categories { names, .. } => {
                let category = names.iter().position(|name| name == cell);
                let category = category.ok_or_else(|| format!("one of {}", names.join(", ")))?;
                features[category] = 1.0;
            }
        }
        Ok(())
    }
}

impl TargetEncoding {
    /// The names of the classes, or of the columns of numbers.
    pub fn names(&self) -> TargetNames {
        match self {
            Self::Classes { names, .. } => TargetNames::Classes(names.clone()),
            Self::Values { columns } => TargetNames::Values(columns.clone()),
        }
    }

    /// The columns to predict.
    pub fn columns(&self) -> &[String] {
        match self {
            Self::Classes { column, .. } => std::slice::from_ref(column),
            Self::Values { columns } => columns,
        }
    }

    /// What is to be predicted of every row.
    ///
    /// # Errors
    /// A column that is not there, a class that the training table did not have, or a cell that is not a number.
    pub fn read(&self, table: &Table) -> Result<Targets, DataError> {
        match self {
            Self::Classes { column, names } => {
                let position = table.position(column)?;
                // There may be as many classes as half the rows.
                let labels: BTreeMap<&str, u32> =
                    names.iter().map(String::as_str).zip(0..).collect();
                let label = |(row, cell): (usize, &str)| {
                    labels.get(cell).copied().ok_or_else(|| {
                        let expected = format!("one of {}", names.join(", "));
                        table.cell_error(row, position, &shown(cell), &expected)
                    })
                };
                let labels = table.cells(position).enumerate().map(label);
                Ok(Targets::Classes(labels.collect::<Result<_, _>>()?))
            }
            Self::Values { columns } => {
                let mut all = Array2::zeros((table.len(), columns.len()));
                for (column, name) in columns.iter().enumerate() {
                    let position = table.position(name)?;
                    for (row, cell) in table.cells(position).enumerate() {
                        let value = number(cell).ok_or_else(|| {
                            table.cell_error(row, position, &shown(cell), "a number")
                        })?;
                        all[[row, column]] = value;
                    }
                }
                Ok(Targets::Values(all))
            }
        }
    }

    pub(crate) fn find(table: &Table, columns: &TableColumns) -> Result<Self, DataError> {
        let setting = |found: String, expected: &str| DataError::Setting {
            key: "dataset.target",
            found,
            expected: expected.to_owned(),
        };
        if columns.target.is_empty() {
            return Err(setting("nothing".into(), "the column to predict"));
        }
        if columns.regression {
            return Ok(Self::Values { columns: columns.target.clone() });
        }
        let [column] = &columns.target[..] else {
            let found = format!("{} columns", columns.target.len());
            return Err(setting(
                found,
                "one column of classes; several are for `task: regression`",
            ));
        };
        let position = table.position(column)?;
        let cells: Vec<&str> = table.cells(position).collect();
        if let Some(row) = cells.iter().position(|cell| is_missing(cell)) {
            return Err(table.cell_error(row, position, &shown(cells[row]), "a class"));
        }
        let names = sorted(cells.into_iter());
        let most = table.len() / 2;
        if names.len() < 2 || names.len() > most.max(2) {
            let what = format!("the target `{column}`");
            let found = format!("{} different values in {} rows", names.len(), table.len());
            let expected = "at least 2 classes with examples (`task: regression` predicts numbers)";
            return Err(DataError::format(table.path(), &what, &found, expected));
        }
        Ok(Self::Classes { column: column.clone(), names })
    }
}

/// Different values, each once: numbers by value, otherwise by name.
fn sorted<'a>(cells: impl Iterator<Item = &'a str>) -> Vec<String> {
    let distinct: BTreeSet<&str> = cells.collect();
    let mut names: Vec<&str> = distinct.into_iter().collect();
    if names.iter().all(|name| number(name).is_some()) {
        names.sort_by(|a, b| number(a).unwrap_or(0.0).total_cmp(&number(b).unwrap_or(0.0)));
    }
    names.into_iter().map(str::to_owned).collect()
}

fn is_missing(cell: &str) -> bool {
    cell.is_empty()
        || cell == "?"
        || ["na", "n/a", "nan", "null"].iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// A finite number.
fn number(cell: &str) -> Option<f32> {
    cell.parse().ok().filter(|value: &f32| value.is_finite())
}

fn shown(cell: &str) -> String {
    if cell.is_empty() { "empty".into() } else { format!("`{cell}`") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ndarray::array;

    use super::*;

    fn table(text: &str) -> Table {
        Table::parse(Path::new("t.csv"), text.as_bytes()).unwrap()
    }

    fn columns(target: &str) -> TableColumns {
        TableColumns {
            target: vec![target.into()],
            features: None,
            regression: false,
            missing: MissingCells::Error,
        }
    }

    const PETS: &str = "kg,colour,kind\n4,red,cat\n20.5,black,dog\n5,black,cat\n31,red,dog\n";

    #[test]
    fn numbers_stay_categories_become_columns_and_classes_become_labels() {
        let pets = table(PETS);
        let encoding = TableEncoding::find(&pets, &columns("kind"), &[0, 1, 2]).unwrap();
        assert_eq!(encoding.width(), 3);
        assert_eq!(encoding.feature_names(), ["kg", "colour=black", "colour=red"]);
        let expected = array![[4.0, 0.0, 1.0], [20.5, 1.0, 0.0], [5.0, 1.0, 0.0], [31.0, 0.0, 1.0]];
        assert_eq!(encoding.features(&pets).unwrap(), expected);
        assert_eq!(encoding.target.read(&pets).unwrap(), Targets::Classes(vec![0, 1, 0, 1]));
        // Another table may have other columns beside them, in another order, and no target.
        let more = table("colour,age,kg\nred,7,1\n");
        assert_eq!(encoding.features(&more).unwrap(), array![[1.0, 0.0, 1.0]]);
    }

    #[test]
    fn a_regression_predicts_several_columns() {
        let sizes = table("a,b,c\n1,2,3\n4,5,6e1\n");
        let of =
            TableColumns { target: vec!["c".into(), "a".into()], regression: true, ..columns("") };
        let encoding = TableEncoding::find(&sizes, &of, &[0]).unwrap();
        assert_eq!(encoding.features(&sizes).unwrap(), array![[2.0], [5.0]]);
        let values = Targets::Values(array![[3.0, 1.0], [60.0, 4.0]]);
        assert_eq!(encoding.target.read(&sizes).unwrap(), values);
    }

    #[test]
    fn empty_cells_are_filled_from_training_rows_or_are_an_error() {
        let gaps = table("x,y,class\n1,a,p\n3,NA,q\n?,b,p\n100,a,q\n");
        let error = TableEncoding::find(&gaps, &columns("class"), &[0, 1]).unwrap_err();
        let expected = "t.csv: line 4, column `x` is `?`; expected a value (`missing: mean` fills empty cells)";
        assert_eq!(error.to_string(), expected);
        let of = TableColumns { missing: MissingCells::Mean, ..columns("class") };
        let encoding = TableEncoding::find(&gaps, &of, &[0, 1]).unwrap();
        let expected = array![[1.0, 1.0, 0.0], [3.0, 0.0, 0.0], [2.0, 0.0, 1.0], [100.0, 1.0, 0.0]];
        assert_eq!(encoding.features(&gaps).unwrap(), expected);
    }

    #[test]
    fn labels_that_are_numbers_are_ordered_by_value() {
        let digits = table("x,label\n0,10\n1,9\n2,10\n3,9\n");
        let encoding = TableEncoding::find(&digits, &columns("label"), &[0]).unwrap();
        assert_eq!(encoding.target.read(&digits).unwrap(), Targets::Classes(vec![1, 0, 1, 0]));
    }

    #[test]
    fn wrong_columns_and_cells_are_errors_that_name_them() {
        let pets = table(PETS);
        let encoding = TableEncoding::find(&pets, &columns("kind"), &[0]).unwrap();
        for (text, message) in [
            ("kg,colour\nx,red\n", "t.csv: line 2, column `kg` is `x`; expected a number"),
            ("kg,colour\ninf,red\n", "t.csv: line 2, column `kg` is `inf`; expected a number"),
            (
                "kg,colour\n1,blue\n",
                "t.csv: line 2, column `colour` is `blue`; expected one of black, red",
            ),
            ("kg\n1\n", "t.csv: a column is not there: `colour`; expected one of kg"),
        ] {
            assert_eq!(encoding.features(&table(text)).unwrap_err().to_string(), message);
        }
        let unknown = encoding.target.read(&table("kind\nfox\n")).unwrap_err().to_string();
        assert_eq!(unknown, "t.csv: line 2, column `kind` is `fox`; expected one of cat, dog");
        let of = TableColumns { features: Some(vec!["kind".into()]), ..columns("kind") };
        let error = TableEncoding::find(&pets, &of, &[0]).unwrap_err().to_string();
        assert_eq!(error, "t.csv: column `kind` is used twice; expected each column once");
        let error = TableEncoding::find(&pets, &columns("kg"), &[0]).unwrap_err().to_string();
        assert!(error.contains("the target `kg` is 4 different values in 4 rows"), "{error}");
    }
}
