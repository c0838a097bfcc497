//! Similarity matching: a local loss of a unit beside those of its workers (Nøkland and Eidnes 2019).

use serde::{Deserialize, Serialize};

use super::UnitPlace;
use crate::config::{ConfigError, LayerConfig, Range};
use crate::layer::{
    DeviationConfig, FlattenConfig, Layer, LayerBuilder, NormalizeRowsConfig, Sequential,
};
use crate::metric::{Metric, MetricScope, Per};
use crate::program::{
    AccumulateRows, Linear, LinearInputGrad, NormalizeRows, SimilarityLoss, TensorId,
};
use crate::step::StepBuilder;

const WEIGHT: Range = Range::positive();

/// Similarity matching: the unit also minimises `weight · mean (R − T)²` over all pairs of a batch, where R are the
/// cosines between the centred features of two examples, and T those between their targets. The features pass through
/// `layers`; each channel of an image then counts by its standard deviation over the positions.
///
/// ```
/// # use lfnn_core::{config::NetworkConfig, network::Network, program::ProgramSet};
/// let config: NetworkConfig = serde_json::from_str(
///     r#"{"units": [{
///         "layers": [{"conv": {"filters": 8, "kernel": 3}}, "relu"],
///         "workers": {"readout": {"count": 1, "grid": 2}},
///         "similarity": {"weight": 1, "layers": [{"conv": {"filters": 8, "kernel": 3, "padding": 1, "bias": false}}]}
///     }]}"#,
/// )?;
/// let network = Network::new(&mut ProgramSet::new(), &config, &[8, 8, 1], 10)?;
/// // Training alone needs its layers: they count as a head.
/// assert_eq!(network.parameter_counts().1, (4 * 8 * 10 + 10) + 9 * 8 * 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SimilarityConfig {
    /// Weight of the loss.
    #[cfg_attr(feature = "schema", schemars(transform = { WEIGHT }))]
    pub weight: f64,
    /// Layers between the features and what is compared. Training alone needs them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = [])))]
    pub layers: Vec<LayerConfig>,
}

impl SimilarityConfig {
    /// The features as they are, with this weight.
    pub fn new(weight: f64) -> Self {
        Self { weight, layers: Vec::new() }
    }

    /// One more layer between the features and what is compared.
    #[must_use]
    pub fn layer(mut self, layer: impl Into<LayerConfig>) -> Self {
        self.layers.push(layer.into());
        self
    }

    /// The loss for features of this shape.
    pub(super) fn build(
        &self,
        builder: &mut LayerBuilder<'_>,
        features: &[usize],
        place: &UnitPlace<'_>,
    ) -> Result<Similarity, ConfigError> {
        builder.check(WEIGHT, "weight", self.weight)?;
        if place.classifiers > 1 {
            let message = "the classifiers of a one-vs-all network share no features to compare";
            return Err(builder.error(message));
        }
        let targets = match (place.probabilities, place.classes) {
            (true, classes) => Targets::Labels { classes: classes.max(2) },
            (false, 1) => {
                let message = "regression of one number: centred, it has no direction to compare; \
                               expected classes, or several numbers";
                return Err(builder.error(message));
            }
            (false, _) => Targets::Values,
        };
        let mut layers = builder.in_head(|builder| {
            builder.within(".layers", "similarity.", |builder| {
                builder.sequential(&self.layers, features, "layer")
            })
        })?;
        match *layers.output_shape() {
            [1, 1, _] => builder.append_uncounted(&mut layers, &FlattenConfig)?,
            [_, _, _] => builder.append_uncounted(&mut layers, &DeviationConfig)?,
            _ => {}
        }
        if layers.output_shape() == [1] {
            let message = "compares one feature: centred, it has no direction; expected several";
            return Err(builder.error(message));
        }
        builder.append_uncounted(&mut layers, &NormalizeRowsConfig)?;
        Ok(Similarity { layers, loss: Loss { weight: self.weight, targets } })
    }
}

/// The similarity matching of a unit.
#[derive(Debug)]
pub(super) struct Similarity {
    /// From the unit's features to a unit vector for each example.
    pub(super) layers: Sequential,
    loss: Loss,
}

#[derive(Clone, Copy, Debug)]
struct Loss {
    weight: f64,
    targets: Targets,
}

/// Whose similarities those of the features are to be.
#[derive(Clone, Copy, Debug)]
enum Targets {
    Labels { classes: usize },
    Values,
}

impl Similarity {
    /// The loss of these unit vectors, `[batch, features]`.
    pub(super) fn of(&self, vectors: TensorId) -> Compared {
        Compared { vectors, loss: self.loss }
    }
}

/// The features of a batch as unit vectors, to be compared with the targets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compared {
    vectors: TensorId,
    loss: Loss,
}

/// Of similarity matching, without its weight.
const SIMILARITY_LOSS: Metric = Metric {
    name: "similarity_loss",
    about: "mean loss of similarity matching, without its weight; only of units that have it",
    scope: MetricScope::Unit,
    per: Per::Example,
    factor: 1.0,
};

impl Compared {
    /// Writes the gradient of the weighted loss with respect to the unit vectors, and adds the loss to `total`, a metric
    /// of this unit, from 1.
    pub(super) fn gradient(
        self,
        step: &mut StepBuilder<'_>,
        target: TensorId,
        (unit, total): (usize, TensorId),
    ) -> TensorId {
        let (vectors, weight, counter) = (self.vectors, self.loss.weight, step.counter());
        let similarity = similarities(step, vectors);
        let (target, classes) = match self.loss.targets {
            Targets::Labels { classes } => (target, classes),
            Targets::Values => {
                let (norm, y) = (step.activation("target.norm", &[]), step.like("target", target));
                step.push(NormalizeRows { x: target, norm, y });
                (similarities(step, y), 0)
            }
        };
        let gradient = step.like("similarities.gradient", similarity);
        let losses = step.activation("similarity.losses", &[1]);
        step.push(SimilarityLoss { similarity, target, gradient, losses, classes, weight });
        step.push(AccumulateRows { x: losses, counter, total });
        step.metric(SIMILARITY_LOSS, unit, total, 0..1);
        let dx = step.like("unit_vectors.gradient", vectors);
        step.push(LinearInputGrad { dy: gradient, weight: vectors, dx, groups: 1 });
        dx
    }
}

/// Writes the similarities of unit vectors, `[batch, batch]`.
fn similarities(step: &mut StepBuilder<'_>, vectors: TensorId) -> TensorId {
    let y = step.activation("similarities", &[step.batch()]);
    step.push(Linear { x: vectors, weight: vectors, bias: None, y, groups: 1 });
    y
}
