//! `recipes`: lists them, or prints one.

use anyhow::anyhow;

use crate::config::did_you_mean;
use crate::failure::{Failure, Result};
use crate::format::{Align, table};
use crate::output::Output;
use crate::recipes::{about, names, text};

/// Prints the list, or the YAML of a recipe.
///
/// # Errors
/// A recipe that is not there.
pub(crate) fn command(name: Option<&str>, output: &Output) -> Result {
    let Some(name) = name else {
        let line = |name: &'static str| text(name).map(|text| vec![name.to_owned(), about(text)]);
        let lines: Vec<Vec<String>> = names().filter_map(line).collect();
        return output.result(&table(&[Align::Left, Align::Left], &lines));
    };
    match text(name) {
        Some(text) => output.result(text),
        None => {
            let near = did_you_mean(name, names());
            Err(Failure::Usage(anyhow!("there is no recipe `{name}`{near}")))
        }
    }
}
