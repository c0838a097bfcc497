//! A checkpoint, as `predict` and `export` take it. Where the first byte is `{`, the input is the metadata of a
//! checkpoint whose tensors are those of a small network; otherwise it is the whole file. Checksums are made
//! right, since a forger can do that too.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    lfnn_cli::fuzzing::checkpoint(bytes);
});
