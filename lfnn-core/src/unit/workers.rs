//! From the configuration of workers to the bodies of a unit.

use super::{Body, UnitPlace, WorkerKind};
use crate::config::{ConfigError, OutputActivation, UnitConfig, WorkersConfig};
use crate::layer::{
    FilterMean, FlattenLayer, Layer, LayerBuilder, LinearLayer, ParameterFree, Parametric,
    Sequential, SoftmaxLayer,
};
use crate::program::Activation;
use crate::sizes;

/// A unit's workers, built.
pub(super) struct Parts {
    pub(super) kind: WorkerKind,
    pub(super) workers: usize,
    pub(super) bodies: Vec<Body>,
    /// Shape of what all bodies give together.
    pub(super) features: Vec<usize>,
    pub(super) output_activation: Sequential,
}

pub(super) fn build(
    builder: &mut LayerBuilder,
    config: &UnitConfig,
    place: UnitPlace<'_>,
    path: &str,
) -> Result<Parts, ConfigError> {
    let workers_path = format!("{path}.workers");
    let fail = |message: String| ConfigError::new(&workers_path, message);
    let settings = config.workers.settings();
    for &(key, value) in &settings {
        sizes::setting(&workers_path, key, value)?;
    }
    let count = settings.first().map_or(0, |&(_, count)| count);
    if count == 0 {
        return Err(fail("a count of 0, expected at least 1 worker".into()));
    }
    if place.classifiers > 1 && !matches!(config.workers, WorkersConfig::Neurons { .. }) {
        return Err(fail("one-vs-all networks have units of `neurons` only".into()));
    }
    let mut layers =
        || builder.sequential(&config.layers, place.input, "layer", &format!("{path}.layers"));
    match config.workers {
        WorkersConfig::Neurons { output_activation: activation, .. } => {
            let mut body = layers()?;
            if place.classifiers > 1 && body.depth() > 0 {
                let message =
                    "one-vs-all networks share no weights: expected no layer with weights";
                return Err(ConfigError::new(format!("{path}.layers"), message));
            }
            let neurons = place.classifiers * count * place.classes;
            let groups = if place.input_per_classifier { place.classifiers } else { 1 };
            let linear = LinearLayer::new(body.output_shape(), neurons, groups, true);
            let linear = linear.and_then(Parametric::new).map_err(fail)?;
            builder.admit(linear.output_shape(), &workers_path)?;
            body.push("neurons", Box::new(linear));
            let features = body.output_shape().to_vec();
            let output_activation =
                output_activation(builder, &features, activation, place).map_err(fail)?;
            let head = Sequential::new(&features);
            let bodies = vec![Body { prefix: String::new(), layers: body, head }];
            Ok(Parts {
                kind: WorkerKind::Neurons,
                workers: count,
                bodies,
                features,
                output_activation,
            })
        }
        WorkersConfig::Filters { scale, .. } => {
            let body = layers()?;
            require_weights(&body, path)?;
            let features = body.output_shape().to_vec();
            let mut head = Sequential::new(&features);
            let mean = FilterMean::new(&features, count, place.classes, scale).map_err(fail)?;
            let mean = ParameterFree(mean);
            builder.admit(mean.output_shape(), &workers_path)?;
            head.push("", Box::new(mean));
            let bodies = vec![Body { prefix: String::new(), layers: body, head }];
            let output_activation = Sequential::new(&features);
            Ok(Parts {
                kind: WorkerKind::Filters,
                workers: count,
                bodies,
                features,
                output_activation,
            })
        }
        WorkersConfig::Readout { grid, dropout, .. } => {
            let body = layers()?;
            require_weights(&body, path)?;
            let features = body.output_shape().to_vec();
            let channels = features.last().copied().unwrap_or(0);
            if !channels.is_multiple_of(count) {
                return Err(fail(format!(
                    "{channels} features cannot be shared evenly by {count} workers"
                )));
            }
            let head =
                readout(builder, &features, count, place.classes, grid, dropout, &workers_path)?;
            let bodies = vec![Body { prefix: String::new(), layers: body, head }];
            let output_activation = Sequential::new(&features);
            Ok(Parts {
                kind: WorkerKind::Readout,
                workers: count,
                bodies,
                features,
                output_activation,
            })
        }
        WorkersConfig::Block { grid, dropout, .. } => {
            // Room for what is there: the limit of layers may end this long before the count.
            let mut bodies = Vec::new();
            for block in 1..=count {
                let layers = builder.sequential(
                    &config.layers,
                    place.input,
                    "layer",
                    &format!("{path}.layers"),
                )?;
                require_weights(&layers, path)?;
                let features = layers.output_shape().to_vec();
                let head =
                    readout(builder, &features, 1, place.classes, grid, dropout, &workers_path)?;
                bodies.push(Body { prefix: format!("block{block}."), layers, head });
            }
            let mut features = bodies[0].layers.output_shape().to_vec();
            if let Some(last) = features.last_mut() {
                *last *= count;
            }
            builder.admit(&features, &workers_path)?;
            let output_activation = Sequential::new(&features);
            Ok(Parts {
                kind: WorkerKind::Block,
                workers: count,
                bodies,
                features,
                output_activation,
            })
        }
    }
}

fn require_weights(layers: &Sequential, path: &str) -> Result<(), ConfigError> {
    if layers.depth() > 0 {
        return Ok(());
    }
    Err(ConfigError::new(
        format!("{path}.layers"),
        "holds no layer with weights, so there is nothing for the workers to learn",
    ))
}

/// A linear map of each worker's own features, pooled first if they are an image.
fn readout(
    builder: &mut LayerBuilder,
    features: &[usize],
    workers: usize,
    width: usize,
    grid: Option<usize>,
    dropout: f64,
    path: &str,
) -> Result<Sequential, ConfigError> {
    let fail = |message: String| ConfigError::new(path, message);
    let mut head = Sequential::new(features);
    let is_image = features.len() == 3;
    if let Some(grid) = grid {
        if !is_image {
            return Err(fail("a `grid` is for filters, but the features are a vector".into()));
        }
        let pool = builder.grid(features, grid, path)?;
        head.push("", pool);
    }
    let drop = builder.dropout(head.output_shape(), dropout, path)?;
    if dropout > 0.0 {
        head.push("", drop);
    }
    if is_image {
        let flatten = FlattenLayer::new(head.output_shape()).map_err(fail)?;
        head.push("", Box::new(ParameterFree(flatten)));
    }
    let linear = LinearLayer::new(head.output_shape(), workers * width, workers, true);
    let linear = linear.and_then(Parametric::new).map_err(fail)?;
    builder.admit(linear.output_shape(), path)?;
    head.push("readout", Box::new(linear));
    Ok(head)
}

/// What a unit of neurons does with its logits before it hands them on.
fn output_activation(
    builder: &LayerBuilder,
    features: &[usize],
    activation: OutputActivation,
    place: UnitPlace<'_>,
) -> Result<Sequential, String> {
    let mut chain = Sequential::new(features);
    let function = match activation {
        OutputActivation::Output if !place.probabilities => return Ok(chain),
        OutputActivation::Output if place.classes > 1 => {
            chain.push("", Box::new(ParameterFree(SoftmaxLayer::new(features, place.classes)?)));
            return Ok(chain);
        }
        OutputActivation::Output | OutputActivation::Sigmoid => Activation::Sigmoid,
        OutputActivation::Relu => Activation::Relu,
        OutputActivation::Tanh => Activation::Tanh,
    };
    chain.push("", builder.activation(features, function));
    Ok(chain)
}
