//! Runs a property over many random cases.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use crate::under_test;

/// Checks a property on `cases` values of a strategy (on fewer where the backend under test is slow) and panics with the smallest that fails.
///
/// The cases are the same in every run, so that a failure is never a matter of luck;
/// `PROPTEST_RNG_SEED=n` draws others.
///
/// # Panics
/// If the property does not hold.
pub fn property<S>(cases: u32, strategy: S, holds: impl Fn(S::Value) -> Result<(), String>)
where
    S: Strategy,
    S::Value: Debug,
{
    let cases = under_test::cases(cases);
    let mut config =
        Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(2310_07885);
    }
    let outcome =
        TestRunner::new(config).run(&strategy, |value| holds(value).map_err(TestCaseError::fail));
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, value)) => panic!("{reason}\nsmallest case: {value:#?}"),
        Err(TestError::Abort(reason)) => panic!("the cases cannot be drawn: {reason}"),
    }
}
