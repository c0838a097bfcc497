//! The kernel files, and what is compiled before each.
//!
//! A file includes nothing. It is compiled after `types.cuh`, `prelude.cuh`, the structures and constants that it
//! shares with Rust ([`crate::plan`] declares them) and the headers that it shares with other files, with one of the
//! macros `ACT_F32`, `ACT_Bf16` and `ACT_F16` defined: it says what `act_t`, the type of activations, is. `types.cuh`
//! includes the toolkit's headers for the types of half precision, and only for those.

use lfnn_core::program::step_counter;

use crate::plan::{
    KernelFile, KernelSource, channels, conv, data, divide, elementwise, leaders, losses, metrics,
    norm, optimize, peak_rates, pool, product, rows, scale, shape, shared, similarity, unit,
    workers,
};

/// What is compiled with a kernel file.
struct Source {
    file: KernelFile,
    /// What it shares with Rust.
    declarations: &'static [fn() -> String],
    /// Headers and the file itself: names and texts.
    texts: &'static [(&'static str, &'static str)],
    /// Kernels that are made of its templates.
    kernels: fn() -> String,
}

macro_rules! sources {
    ($(
        $file:literal shares [$($declarations:path),*] after [$($header:literal),*]
        $(with $kernels:path)?;
    )*) => {
        &[$(Source {
            file: KernelFile($file),
            declarations: &[$($declarations),*],
            texts: &[
                $(($header, include_str!($header)),)*
                (concat!($file, ".cu"), include_str!(concat!($file, ".cu"))),
            ],
            kernels: [$($kernels,)? String::new][0],
        },)*]
    };
}

const SOURCES: &[Source] = sources! {
    "bias" shares [] after [];
    "conv" shares [product::declarations, conv::declarations] after ["mma.cuh", "product.cuh", "conv.cuh"]
        with product::forward_kernels;
    "conv_input_grad" shares [product::declarations, conv::declarations] after ["mma.cuh", "product.cuh", "conv.cuh"]
        with product::input_grad_kernels;
    "conv_weight_grad" shares [product::declarations, conv::declarations] after ["mma.cuh", "product.cuh", "conv.cuh"]
        with product::weight_grad_kernels;
    "data" shares [data::declarations] after [];
    "elementwise" shares [elementwise::declarations] after [];
    "layer_norm" shares [rows::declarations] after [];
    "leaders" shares [leaders::declarations] after ["leaders.cuh"];
    "losses" shares [losses::declarations] after ["losses.cuh"];
    "metrics" shares [metrics::declarations] after ["metrics.cuh"];
    "norm" shares [norm::declarations] after [];
    "optimize" shares [optimize::declarations] after [];
    "peak_rates" shares [peak_rates::declarations] after [];
    "perturb" shares [] after [];
    "pool" shares [pool::declarations] after [];
    "shape" shares [shape::declarations] after [];
    "similarity" shares [similarity::declarations, rows::declarations] after [];
    // The operations between a unit's logits and their gradient, in one launch.
    "unit" shares [
        losses::declarations, leaders::declarations, metrics::declarations, unit::declarations, unit::operations
    ] after ["losses.cuh", "leaders.cuh", "metrics.cuh"];
    "workers" shares [workers::declarations] after [];
};

/// Positions in the step counter.
fn step_counter_positions() -> String {
    let positions = [
        ("SEED_LOW", step_counter::SEED_LOW),
        ("SEED_HIGH", step_counter::SEED_HIGH),
        ("EPOCH", step_counter::EPOCH),
        ("STEP", step_counter::STEP),
        ("TIME", step_counter::TIME),
        ("COUNT", step_counter::COUNT),
    ];
    positions.map(|(name, at)| shared::constant(&format!("COUNTER_{name}"), at)).concat()
}

/// The kernel files.
pub fn files() -> impl Iterator<Item = KernelFile> {
    SOURCES.iter().map(|source| source.file)
}

/// What is compiled; none if the crate does not have the file.
pub fn text(source: KernelSource) -> Option<String> {
    let mut text = format!("#define ACT_{:?} 1\n", source.act);
    let source = SOURCES.iter().find(|other| other.file == source.file)?;
    let mut append = |name: &str, part: &str| {
        text.push_str(&format!("#line 1 \"{name}\"\n{part}\n"));
    };
    append("types.cuh", include_str!("types.cuh"));
    let common = [divide::declarations, channels::declarations, scale::declarations];
    let declared: String = common.iter().map(|declarations| declarations()).collect();
    append("shared by all", &(declared + &step_counter_positions()));
    append("prelude.cuh", include_str!("prelude.cuh"));
    let declared: String = source.declarations.iter().map(|declarations| declarations()).collect();
    append("shared", &declared);
    source.texts.iter().for_each(|(name, part)| append(name, part));
    append("kernels", &(source.kernels)());
    Some(text)
}
