//! `--init` and `--freeze`: a run that begins with the weights of another.

use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail};
use lfnn_core::model::Model;
use lfnn_core::train::{LoadedWeights, Matching, Trainer};

use crate::checkpoint;
use crate::cli::TrainArgs;
use crate::config::{InitConfig, RunConfig};
use crate::failure::{Failure, Usage};

/// The units of `--freeze`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Units {
    /// All that the checkpoint has.
    All,
    /// Those in these ranges, from 1.
    Ranges(Vec<RangeInclusive<usize>>),
}

impl FromStr for Units {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Units::All);
        }
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<usize>().ok().filter(|&unit| unit > 0);
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(first..=last)
        };
        let ranges = text.split(',').map(range).collect::<Option<_>>();
        ranges.map(Units::Ranges).ok_or_else(|| {
            "expected numbers of units from 1, such as `1`, `1-3` or `1,3`, or `all`".to_owned()
        })
    }
}

/// Puts what the command line says about the beginning of a new run into its configuration, with the digest of the
/// checkpoint.
///
/// # Errors
/// A checkpoint that cannot be read or is not the one that the configuration names; a unit that is not there.
pub(super) fn configure(args: &TrainArgs, config: &mut RunConfig) -> Result<(), Failure> {
    if let Some(path) = &args.init {
        config.init = Some(InitConfig::new(path.clone()));
    }
    let Some(init) = &mut config.init else { return Ok(()) };
    let (model, sha256) = read(init)?;
    init.sha256 = Some(sha256);
    let units = &mut config.network.units;
    let count = units.len();
    let ranges = match &args.freeze {
        None => return Ok(()),
        Some(Units::All) => vec![1..=model.description.network.units.len().min(count)],
        Some(Units::Ranges(ranges)) => ranges.clone(),
    };
    for number in ranges.into_iter().flatten() {
        let unit = units.get_mut(number - 1);
        let unit = unit.with_context(|| format!("--freeze: unit {number} of {count}")).usage()?;
        unit.frozen = true;
    }
    Ok(())
}

/// Loads the weights, and the normalisation where it is asked for. What was loaded comes back, for people.
///
/// # Errors
/// A checkpoint that cannot be read, is not the one that the run recorded, or has nothing that fits.
pub(super) fn load(init: &InitConfig, trainer: &mut Trainer) -> Result<String, Failure> {
    let (model, _) = read(init)?;
    let weights = trainer.load_weights(&model.state, Matching::ByName)?;
    if init.normalization {
        trainer.load_normalization(&model.state)?;
    }
    Ok(describe(&init.path, &weights))
}

fn read(init: &InitConfig) -> anyhow::Result<(Model, String)> {
    let path = checkpoint::locate(&init.path)?;
    let (saved, sha256) = checkpoint::load_with_digest(&path)?;
    if let Some(expected) = init.sha256.as_ref().filter(|expected| **expected != sha256) {
        bail!("{}: its SHA-256 is {sha256}, but `init.sha256` is {expected}", path.display());
    }
    Ok((saved.model, sha256))
}

/// A line, and another for what does not match.
fn describe(path: &Path, weights: &LoadedWeights) -> String {
    let mut text = format!("init: {} tensors of {}", weights.loaded.len(), path.display());
    let fresh = weights.missing.len() + weights.mismatched.len();
    let (shapes, unused) = (weights.mismatched.len(), weights.unused.len());
    if !weights.is_exact() {
        text += &format!(
            "\n  {fresh} begin anew ({shapes} of another shape); {unused} of the checkpoint not used"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_numbers_ranges_or_all() {
        let ranges = |text: &str| match text.parse() {
            Ok(Units::Ranges(ranges)) => ranges.into_iter().flatten().collect(),
            _ => Vec::new(),
        };
        assert_eq!("all".parse(), Ok(Units::All));
        assert_eq!(ranges("2"), [2]);
        assert_eq!(ranges("1-3"), [1, 2, 3]);
        assert_eq!(ranges("1,3-4"), [1, 3, 4]);
        for wrong in ["", "0", "3-1", "1-", "a", "1,,2", "-1"] {
            assert!(wrong.parse::<Units>().is_err(), "{wrong}");
        }
    }
}
