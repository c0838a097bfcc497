//! The sources of the kernels, one file per family of operations, and what is put in front of each.
//!
//! A source is compiled as [`PRELUDE`] followed by the file, with one of the macros `REAL_F32`, `REAL_Bf16` and
//! `REAL_F16` defined: it says what `real`, the type of activations, is. Sources include nothing: headers that
//! several share are put in front of them here. The prelude includes the toolkit's headers for the types of half
//! precision, and only for those.

use crate::plan::Family;

/// Put in front of every source.
pub const PRELUDE: &str = include_str!("prelude.cuh");

macro_rules! families {
    ($($(#[$doc:meta])* $name:ident = $file:literal $(after $($header:literal)+)?),* $(,)?) => {
        $($(#[$doc])* pub const $name: Family = Family($file);)*

        /// Every family with its source.
        pub const SOURCES: &[(Family, &str)] = &[$((
            $name,
            concat!(
                $($("#line 1 \"", $header, "\"\n", include_str!($header),)+
                "#line 1 \"", $file, ".cu\"\n",)?
                include_str!(concat!($file, ".cu")),
            ),
        )),*];
    };
}

families! {
    /// Arithmetic alone and memory alone, for measurements.
    CEILINGS = "peak_rates",
    /// Bias and sums over rows.
    COLUMNS = "columns",
    /// Convolutions and linear maps.
    CONV = "conv" after "mma.cuh" "product.cuh" "conv.cuh",
    /// Gradients of their inputs.
    CONV_INPUT_GRAD = "conv_input_grad" after "mma.cuh" "product.cuh" "conv.cuh",
    /// Gradients of their weights and biases.
    CONV_WEIGHT_GRAD = "conv_weight_grad" after "mma.cuh" "product.cuh" "conv.cuh",
    /// Gathering a batch.
    DATA = "data",
    /// Elements alone.
    ELEMENTWISE = "elementwise",
    /// Who leads.
    LEADERS = "leaders" after "leaders.cuh",
    /// Errors, losses and their gradient.
    LOSSES = "losses" after "losses.cuh",
    /// Sums for the record, and the clock.
    METRICS = "metrics" after "metrics.cuh",
    /// Batch normalisation.
    NORM = "norm",
    /// Optimisers.
    OPTIMIZE = "optimize",
    /// Normal variates and inner products.
    PERTURB = "perturb",
    /// Pooling.
    POOL = "pool",
    /// Moving elements.
    SHAPE = "shape",
    /// The operations between a unit's logits and their gradient, in one launch.
    UNIT = "unit" after "losses.cuh" "leaders.cuh" "metrics.cuh",
    /// Softmax and the logits of filter workers.
    WORKERS = "workers",
}

/// The source of a family.
pub fn source(family: Family) -> Option<&'static str> {
    SOURCES.iter().find(|(name, _)| *name == family).map(|(_, source)| *source)
}
