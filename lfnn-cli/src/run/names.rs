//! The names of runs' folders that nobody named: `runs/RECIPE-METHOD-SEED`, then with `-2`, `-3`, …
//!
//! A new run takes the number after the largest, so that the largest number is the newest run, whichever
//! folders have been deleted.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{CONFIG, cannot_make, make};
use crate::config::RunConfig;
use crate::failure::{Failure, Usage};

const RUNS: &str = "runs";

/// The newest run of a configuration.
///
/// # Errors
/// None is there.
pub(crate) fn newest(config: &RunConfig) -> Result<PathBuf, Failure> {
    let name = name(config);
    numbers(&name)
        .into_iter()
        .map(|number| folder(&name, number))
        .rfind(|path| path.join(CONFIG).is_file())
        .with_context(|| {
            format!("{}: no run to resume; --out names another folder", folder(&name, 1).display())
        })
        .usage()
}

/// Makes the folder of a new run.
///
/// # Errors
/// A folder that cannot be made.
pub(super) fn make_unused(config: &RunConfig) -> Result<PathBuf, Failure> {
    make(Path::new(RUNS))?;
    let name = name(config);
    let mut number = numbers(&name).last().map_or(1, |largest| largest + 1);
    loop {
        let path = folder(&name, number);
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            // Another process took the number just now.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(cannot_make(&path, error)),
        }
    }
}

/// The numbers of the runs of a name, ascending.
fn numbers(name: &str) -> Vec<u64> {
    let number = |found: &str| -> Option<u64> {
        match found.strip_prefix(name)? {
            "" => Some(1),
            rest => rest
                .strip_prefix('-')?
                .parse::<u32>()
                .ok()
                .map(u64::from)
                .filter(|&number| number > 1),
        }
    };
    let entries = fs::read_dir(RUNS).into_iter().flatten().flatten();
    let mut numbers: Vec<u64> =
        entries.filter_map(|entry| number(entry.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    numbers
}

fn folder(name: &str, number: u64) -> PathBuf {
    let name = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
    Path::new(RUNS).join(name)
}

fn name(config: &RunConfig) -> String {
    let name = format!("{}-{}-{}", config.label(), config.method, config.seed);
    let safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars().map(|c| if safe(c) { c } else { '-' }).collect()
}
