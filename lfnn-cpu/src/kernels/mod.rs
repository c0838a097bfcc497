//! One file per family of operations: functions on slices, and the kernels that call them on
//! chunks.

pub(crate) mod conv;
pub(crate) mod conv_grad;
pub(crate) mod data;
pub(crate) mod elementwise;
pub(crate) mod layer_norm;
pub(crate) mod leaders;
pub(crate) mod linear;
pub(crate) mod local_losses;
pub(crate) mod loss_gradients;
pub(crate) mod losses;
pub(crate) mod metrics;
pub(crate) mod norm;
pub(crate) mod norm_grad;
pub(crate) mod optimize;
pub(crate) mod perturb;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod shape;
pub(crate) mod similarity;
pub(crate) mod windows;
pub(crate) mod winograd;
pub(crate) mod workers;
