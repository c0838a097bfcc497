//! The files of `step`: two lengths of 16 bits, then the configuration, the weights and the batch.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    lfnn_cli::fuzzing::step(bytes);
});
