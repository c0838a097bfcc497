//! How large a network may be.
//!
//! A configuration may hold any number. Each is held against a limit of this module before it is
//! multiplied, allocated for or counted to: with these limits no size of a network, of a step or of a
//! plan of its memory leaves 64 bits. Whether a machine has the memory is the backend's question.

use crate::config::ConfigError;

/// The largest number that a setting of a network may be.
pub const MAX_SETTING: usize = (1 << 31) - 1;

/// The most elements of one example in the output of a layer: kernels count them in 32 bits.
pub const MAX_EXAMPLE: usize = 1 << 31;

/// The most elements of a tensor: random numbers are indexed by 32 bits, four numbers each.
pub const MAX_ELEMENTS: usize = 1 << 34;

/// The most layers of a network, those of every block counted.
pub const MAX_LAYERS: usize = 1 << 13;

/// How deep residual layers may be nested.
pub const MAX_NESTED: usize = 32;

/// The largest padding of a crop, and the largest side of a square that is cut out.
pub const MAX_AUGMENTATION: usize = (1 << 16) - 1;

/// The number of elements of a tensor of this shape.
///
/// # Errors
/// More than `most`, as a message.
pub(crate) fn elements(what: &str, shape: &[usize], most: usize) -> Result<usize, String> {
    let product = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    match product {
        Some(elements) if elements <= most => Ok(elements),
        _ => Err(format!("{what} of shape {shape:?}, expected at most {most} numbers in it")),
    }
}

/// Checks a number of a setting.
///
/// # Errors
/// More than [`MAX_SETTING`].
pub(crate) fn setting(path: &str, key: &str, value: usize) -> Result<(), ConfigError> {
    at_most(&format!("{path}.{key}"), value, MAX_SETTING)
}

/// Checks a number against its limit.
///
/// # Errors
/// More than the limit.
pub(crate) fn at_most(path: &str, value: usize, limit: usize) -> Result<(), ConfigError> {
    if value <= limit {
        return Ok(());
    }
    Err(ConfigError::new(path, format!("{value}, expected at most {limit}")))
}
