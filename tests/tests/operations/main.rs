//! The CPU backend and the CUDA backend against the reference, operation by operation.
//!
//! Every operation has a property over random shapes and settings: a program of the one operation is
//! run on both backends, and all tensors are compared, those that it must not touch too. Results
//! start as NaN, so an element that is not written shows. Each property states its tolerance and
//! where it comes from; inputs are of the size of 1 unless said otherwise.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

/// The property of an operation.
trait Property {
    /// The test.
    const PROPERTY: fn();
}

/// Runs tests of this file on the emulated CUDA backend too, says of which operation they are the property, and with
/// `narrow` runs them in half precision: not those of which a close decision is all that there is to see.
macro_rules! properties {
    ($($test:ident $(of $op:ident)? $(, $narrow:ident)?;)*) => {
        $($(impl crate::Property for lfnn_core::program::$op {
            const PROPERTY: fn() = $test;
        })?)*

        mod emulated {
            $(#[test]
            fn $test() {
                lfnn_tests::under_test::on_emulator(crate::emulated::share(), super::$test);
            })*

            mod narrow {
                $($(#[test]
                fn $test() {
                    crate::emulated::$narrow(super::super::$test);
                })?)*
            }
        }
    };
}

mod conv;
mod data;
mod elementwise;
mod emulated;
mod factors;
mod larger;
mod layer_norm;
mod leaders;
mod linear;
mod losses;
mod metrics;
mod normalization;
mod optimize;
mod perturb;
mod pool;
mod shape;
mod similarity;
mod unit;
mod window;
mod workers;

use lfnn_core::program::Op;
use lfnn_core::with_operation;

fn property<T: Property>(_: &T) -> fn() {
    T::PROPERTY
}

/// The property of each operation. A new operation does not compile until it has one.
fn property_of(op: &Op) -> fn() {
    with_operation!(op, op => property(op))
}

/// That it compiles is the test.
#[test]
fn every_operation_has_a_property() {
    let _: fn(&Op) -> fn() = property_of;
}
