//! Layers of a program of its own.

use std::fmt;
use std::sync::Arc;

use serde::Serializer;
use serde::ser::Error;

use super::{BuildError, BuildLayer, Built, LayerBuilder, LayerConfig};

/// A layer that is none of [`LayerConfig`]'s own: whatever a program's [`BuildLayer`] builds of operations. It can be
/// wherever a layer can be, but in no file.
///
/// Two of them are equal if one is a clone of the other.
///
/// ```
/// use lfnn_core::config::{LayerConfig, UnitConfig};
/// use lfnn_core::layer::{BuildLayer, Built, LayerBuilder};
///
/// /// Two linear layers through few features between them.
/// struct LowRank {
///     rank: usize,
///     features: usize,
/// }
///
/// impl BuildLayer for LowRank {
///     fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
///         let layers = [self.rank, self.features].map(LayerConfig::linear);
///         Ok(Box::new(builder.sequential(&layers, input, "factor")?))
///     }
/// }
///
/// let layer = LayerConfig::custom("low rank", LowRank { rank: 4, features: 64 });
/// let unit = UnitConfig::new().flatten().layer(layer).relu().readout(4);
/// # assert_eq!(unit.layers.len(), 3);
/// ```
#[derive(Clone)]
pub struct CustomLayer {
    name: Arc<str>,
    build: Arc<dyn BuildLayer>,
}

impl LayerConfig {
    /// A layer of the program's own. Messages call it by this name.
    pub fn custom(name: &str, build: impl BuildLayer + 'static) -> Self {
        LayerConfig::Custom(CustomLayer { name: name.into(), build: Arc::new(build) })
    }
}

impl BuildLayer for CustomLayer {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        self.build.build(builder, input).map_err(|error| match error {
            BuildError::Here(message) => BuildError::Here(format!("{}: {message}", self.name)),
            BuildError::Inside(error) => BuildError::Inside(error),
        })
    }
}

impl PartialEq for CustomLayer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.build, &other.build)
    }
}

impl fmt::Debug for CustomLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomLayer").field(&self.name).finish()
    }
}

/// What a format says when it meets such a layer.
pub(super) fn refuse<S: Serializer>(layer: &CustomLayer, _: S) -> Result<S::Ok, S::Error> {
    Err(S::Error::custom(format!(
        "`{}` is a layer of the program's own, which no file holds",
        layer.name
    )))
}
