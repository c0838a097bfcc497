//! A file of `train --config`, from its text to a built network and the memory of its step.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    lfnn_cli::fuzzing::configuration(text);
});
