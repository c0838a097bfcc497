//! A data set in memory.

use crate::{Examples, Note, TableEncoding, TargetNames};

/// A training set, a test set and perhaps a validation set, with the same targets and the same shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The data set's name.
    pub name: String,
    /// Names of the classes, or of the numbers to predict.
    pub targets: TargetNames,
    /// Examples to learn from. Without a validation set, [`Examples::hold_out`] keeps some of them for validation.
    pub train: Examples,
    /// Examples to choose settings by, where the data set has a part for it.
    pub validation: Option<Examples>,
    /// Examples never looked at before the end.
    pub test: Examples,
    /// How the columns of a table became numbers; none where the data set is not a table.
    pub encoding: Option<TableEncoding>,
    /// What a user may not expect: files that were left out, grey that became RGB, …
    pub notes: Vec<Note>,
}

impl Dataset {
    /// A data set of images with these classes.
    pub(crate) fn of_images<S: ToString>(
        name: &str,
        classes: &[S],
        train: Examples,
        test: Examples,
        notes: Vec<Note>,
    ) -> Self {
        let targets = TargetNames::Classes(classes.iter().map(S::to_string).collect());
        let name = name.to_owned();
        Self { name, targets, train, validation: None, test, encoding: None, notes }
    }

    /// Names of the classes, in the order of the labels; none in a regression.
    pub fn classes(&self) -> &[String] {
        self.targets.classes()
    }
}
