//! Whole programs on the backend under test and on the reference.

use crate::compare::{Contents, Tolerance};
use crate::harness::{Case, Results};
use crate::reference::{Reference, Rounding};
use crate::under_test;

/// The error put into every number that an operation writes, relative to the tensor's largest: some
/// fifty roundings of single precision.
const ERROR: f64 = 4e-6;

/// Tensors that such errors move by more than this share of their largest number are not compared.
const CHAOTIC: f64 = 0.01;

/// Results larger than this have outgrown single precision.
const UNBOUNDED: f64 = 1e10;

/// Checks that the backend under test agrees with the reference.
///
/// Rounding of single precision grows on its way through a program, and where a maximum, a leader or
/// the sign of a ReLU is a close decision it may decide. How much, the reference says itself: a
/// result may lie ten times as far from it as it moves under a few draws of random errors in the
/// results of all operations.
///
/// A program whose results grow beyond all bounds is not compared: squares of its numbers may be too
/// large for single precision.
///
/// # Errors
/// A sentence that names what differs, or what went wrong.
pub fn agrees(case: &Case) -> Result<(), String> {
    let (reference, distances) = with_sensitivity(case)?;
    if reference.iter().any(|(_, contents)| largest(contents) > UNBOUNDED) {
        return Ok(());
    }
    let actual = under_test::run(case, u64::from(case.source.clone().word()) | 1)?;
    let tensors = reference.iter().zip(&actual).zip(&distances);
    for (((name, reference), (_, actual)), distance) in tensors {
        if *distance > CHAOTIC * largest(reference) {
            continue;
        }
        let tolerance = Tolerance { element: 0.0, tensor: ERROR, absolute: 1e-6 + 10.0 * distance };
        tolerance.check(name, actual, reference)?;
    }
    Ok(())
}

/// Checks that the backend under test gives the same bytes with one thread and with two, or in different orders
/// of its threads, and twice.
///
/// # Errors
/// A sentence that says what differs, or what went wrong.
pub fn is_deterministic(case: &Case) -> Result<(), String> {
    let on = |how| under_test::run(case, how).map(|results| bits(&results));
    let one = on(0)?;
    if on(1)? != one {
        return Err("one thread and two, or two orders of them, give different bytes".into());
    }
    if on(1)? != one {
        return Err("two runs give different bytes".into());
    }
    Ok(())
}

/// The results on the reference, and for each tensor how far they go under random errors.
fn with_sensitivity(case: &Case) -> Result<(Results, Vec<f64>), String> {
    let results = case.run(&Reference)?;
    if let Some((name, _)) = results.iter().find(|(_, contents)| has_nan(contents)) {
        return Err(format!("`{name}` is not written wholly"));
    }
    let mut distances = vec![0.0f64; results.len()];
    for (size, seed) in [(ERROR, 1 << 20), (-ERROR, 1 << 20), (ERROR, 1 << 30), (-ERROR, 1 << 30)] {
        let moved = case.run(&Rounding { size, seed })?;
        for ((distance, (_, a)), (_, b)) in distances.iter_mut().zip(&results).zip(&moved) {
            *distance = distance.max(farthest(a, b));
        }
    }
    Ok((results, distances))
}

fn has_nan(contents: &Contents) -> bool {
    matches!(contents, Contents::Real(values) if values.iter().any(|value| value.is_nan()))
}

fn largest(contents: &Contents) -> f64 {
    let Contents::Real(values) = contents else { return 0.0 };
    values.iter().fold(0.0, |largest, value| largest.max(f64::from(value.abs())))
}

fn farthest(a: &Contents, b: &Contents) -> f64 {
    let (Contents::Real(a), Contents::Real(b)) = (a, b) else { return 0.0 };
    a.iter().zip(b).fold(0.0, |largest, (a, b)| largest.max(f64::from((a - b).abs())))
}

/// The bits of all results.
fn bits(results: &Results) -> Vec<Vec<u32>> {
    let bits = |contents: &Contents| match contents {
        Contents::Real(values) => values.iter().map(|value| value.to_bits()).collect(),
        Contents::Whole(values) => values.clone(),
        Contents::Bytes(values) => values.iter().map(|&value| u32::from(value)).collect(),
    };
    results.iter().map(|(_, contents)| bits(contents)).collect()
}
