//! A data set in memory.

use crate::{Images, Note};

/// A training set and a test set with the same classes and the same shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The data set's name.
    pub name: String,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Images to learn from; [`crate::hold_out`] keeps some of them for validation.
    pub train: Images,
    /// Images never looked at before the end.
    pub test: Images,
    /// What a user may not expect: files that were left out, grey that became RGB, …
    pub notes: Vec<Note>,
}

impl Dataset {
    /// Puts the parts together.
    pub(crate) fn new<S: ToString>(
        name: &str,
        classes: &[S],
        train: Images,
        test: Images,
        notes: Vec<Note>,
    ) -> Self {
        let classes = classes.iter().map(S::to_string).collect();
        Self { name: name.to_owned(), classes, train, test, notes }
    }
}
