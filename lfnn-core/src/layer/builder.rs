//! How layers are made: [`LayerBuilder`] declares their tensors and holds their sizes against the limits of
//! [`sizes`].

use super::{Layer, LayerConfig, Sequential};
use crate::config::{ConfigError, Number, Range};
use crate::program::{DType, Part, ProgramSet, Role, Tensor, TensorId};
use crate::random::{Purpose, Stream};
use crate::sizes;

/// The initial values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in ±`bound`. Layers use `1 / √fan_in` for weights and biases, as PyTorch does.
    Uniform {
        /// The bound.
        bound: f64,
    },
    /// One value.
    Constant(f32),
}

impl Init {
    /// PyTorch's default for a layer whose outputs are sums of `fan_in` products.
    pub fn for_fan_in(fan_in: usize) -> Self {
        Init::Uniform { bound: 1.0 / (fan_in.max(1) as f64).sqrt() }
    }

    /// `len` values, drawn from a stream.
    pub fn values(self, seed: u64, stream: Stream, len: usize) -> Vec<f32> {
        match self {
            Init::Constant(value) => vec![value; len],
            Init::Uniform { bound } => (0..len.div_ceil(4) as u32)
                .flat_map(|block| stream.block(seed, 0, 0, block))
                .take(len)
                .map(|word| (bound * (2.0 * crate::random::unit(word) - 1.0)) as f32)
                .collect(),
        }
    }
}

/// A parameter or a buffer that a layer declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The tensor.
    pub id: TensorId,
    /// Its declaration: full name, shape (convolution weights are `[out, kh, kw, in]`), and one of the roles
    /// [`Role::Parameter`], [`Role::Head`] and [`Role::Buffer`].
    pub tensor: Tensor,
    /// Initial values.
    pub init: Init,
    /// The part of the network that it belongs to.
    pub part: Part,
}

impl Parameter {
    /// Whether an optimiser changes it; a buffer is changed by the forward rule instead.
    pub fn trainable(&self) -> bool {
        self.tensor.role != Role::Buffer
    }
}

/// What a layer's configuration does: it makes the layer.
pub trait BuildLayer: Send + Sync {
    /// The layer for inputs of this shape, without the batch, with its tensors declared.
    ///
    /// # Errors
    /// A setting that does not fit the input: a message is enough (`Err("…".into())`), to which the path of the layer
    /// in the configuration is added.
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built;
}

/// A layer, or why there is none.
pub type Built = Result<Box<dyn Layer>, BuildError>;

/// Why a layer cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// The layer's own setting does not fit.
    Here(String),
    /// A setting further inside.
    Inside(ConfigError),
}

impl From<String> for BuildError {
    fn from(message: String) -> Self {
        BuildError::Here(message)
    }
}

impl From<&str> for BuildError {
    fn from(message: &str) -> Self {
        BuildError::Here(message.to_owned())
    }
}

impl From<ConfigError> for BuildError {
    fn from(error: ConfigError) -> Self {
        BuildError::Inside(error)
    }
}

/// Makes layers from their configuration. It declares their tensors in a program set, under the name and
/// with the role of what is being built.
#[derive(Debug)]
pub struct LayerBuilder<'s> {
    set: &'s mut ProgramSet,
    /// Of the configuration that is being read.
    path: String,
    /// What the names of the tensors begin with.
    name: String,
    pub(crate) part: Part,
    /// The role of trainable parameters.
    role: Role,
    /// Whether what is built does not train.
    pub(crate) frozen: bool,
    parameters: Vec<Parameter>,
    dropouts: u32,
    layers: usize,
    pub(super) nested: usize,
    extent: Extent,
}

/// What the layers of a network ask of a batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extent {
    /// Elements of the largest output of a layer, for one example.
    pub(crate) largest: usize,
    /// The batch normalisation with the fewest values of a channel in an example: how many there are,
    /// and its path.
    pub(crate) fewest: Option<(usize, String)>,
}

impl<'s> LayerBuilder<'s> {
    /// A builder that declares tensors in `set`. `path` names the configuration in errors.
    pub fn new(set: &'s mut ProgramSet, path: &str) -> Self {
        Self {
            set,
            path: path.to_owned(),
            name: String::new(),
            part: Part::default(),
            role: Role::Parameter,
            frozen: false,
            parameters: Vec::new(),
            dropouts: 0,
            layers: 0,
            nested: 0,
            extent: Extent::default(),
        }
    }

    /// The layer for inputs of shape `input` (without the batch): `[features]`, or `[height, width, channels]`.
    ///
    /// # Errors
    /// A setting out of range, or one that does not fit the input.
    pub fn layer(
        &mut self,
        config: &LayerConfig,
        input: &[usize],
    ) -> Result<Box<dyn Layer>, ConfigError> {
        let layer = self.build(config, input)?;
        self.admit(layer.output_shape())?;
        Ok(layer)
    }

    /// Layers one after the other; the parameters of layer j are named `{label}{j}.…`, from 1.
    ///
    /// # Errors
    /// See [`LayerBuilder::layer`]; the path gets the layer's position, from 0.
    pub fn sequential(
        &mut self,
        configs: &[LayerConfig],
        input: &[usize],
        label: &str,
    ) -> Result<Sequential, ConfigError> {
        let mut layers = Sequential::new(input);
        for (index, config) in configs.iter().enumerate() {
            let (path, name) = (format!("[{index}]"), format!("{label}{}.", index + 1));
            self.within(&path, &name, |builder| builder.append(&mut layers, config))?;
        }
        Ok(layers)
    }

    /// Appends a layer for the output so far.
    pub(crate) fn append(
        &mut self,
        layers: &mut Sequential,
        config: &dyn BuildLayer,
    ) -> Result<(), ConfigError> {
        self.append_uncounted(layers, config)?;
        self.admit(layers.output_shape())
    }

    /// Appends a layer that no configuration lists, without a weight and with no more outputs than inputs.
    pub(crate) fn append_uncounted(
        &mut self,
        layers: &mut Sequential,
        config: &dyn BuildLayer,
    ) -> Result<(), ConfigError> {
        layers.push(self.build(config, layers.output_shape())?);
        Ok(())
    }

    /// A layer, not counted.
    pub(crate) fn build(
        &mut self,
        config: &dyn BuildLayer,
        input: &[usize],
    ) -> Result<Box<dyn Layer>, ConfigError> {
        config.build(self, input).map_err(|error| match error {
            BuildError::Here(message) => self.error(message),
            BuildError::Inside(error) => error,
        })
    }

    /// Builds something whose path and whose parameters' names continue with these.
    pub(crate) fn within<T>(
        &mut self,
        path: &str,
        name: &str,
        build: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let lengths = (self.path.len(), self.name.len());
        self.path.push_str(path);
        self.name.push_str(name);
        let built = build(self);
        self.path.truncate(lengths.0);
        self.name.truncate(lengths.1);
        built
    }

    /// Builds something whose parameters training alone needs.
    pub(crate) fn in_head<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> T {
        let role = std::mem::replace(&mut self.role, Role::Head);
        let built = build(self);
        self.role = role;
        built
    }

    /// An error of the configuration that is being read.
    pub(crate) fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::new(&self.path, message)
    }

    /// Holds whole numbers of the configuration, each with its key, against the largest that a setting may be.
    pub(crate) fn limit(&self, settings: &[(&str, usize)]) -> Result<(), ConfigError> {
        settings.iter().try_for_each(|&(key, value)| sizes::setting(&self.path, key, value))
    }

    /// Checks a number of the configuration that is being read, by its key.
    pub(crate) fn check<N: Number>(
        &self,
        range: Range,
        key: &str,
        value: N,
    ) -> Result<(), ConfigError> {
        range.check(&format!("{}.{key}", self.path), value)
    }

    /// Declares a trainable parameter; its full name begins with that of the layer, `unit2.layer1.`.
    pub fn parameter(&mut self, name: &str, shape: &[usize], init: Init) -> TensorId {
        self.declare(self.role, name, shape, init)
    }

    /// Declares a tensor that the forward rule changes in training, such as a running mean.
    pub fn buffer(&mut self, name: &str, shape: &[usize], value: f32) -> TensorId {
        self.declare(Role::Buffer, name, shape, Init::Constant(value))
    }

    fn declare(&mut self, role: Role, name: &str, shape: &[usize], init: Init) -> TensorId {
        let name = format!("{}{name}", self.name);
        let id = self.set.declare(role, &name, DType::Real, shape);
        let tensor = self.set.tensors()[id].clone();
        self.parameters.push(Parameter { id, tensor, init, part: self.part });
        id
    }

    /// A random stream for a layer with dropout.
    pub fn dropout_stream(&mut self) -> Stream {
        self.dropouts += 1;
        Stream::new(Purpose::Dropout, self.dropouts)
    }

    /// Counts a layer with outputs of this shape.
    ///
    /// # Errors
    /// One layer too many, or an output that is too large.
    pub(crate) fn admit(&mut self, output: &[usize]) -> Result<(), ConfigError> {
        self.layers += 1;
        if self.layers > sizes::MAX_LAYERS {
            let most = sizes::MAX_LAYERS;
            return Err(self.error(format!(
                "expected at most {most} layers in a network, each block's counted"
            )));
        }
        let elements = sizes::elements("an output", output, sizes::MAX_EXAMPLE);
        let elements = elements.map_err(|message| self.error(message))?;
        self.extent.largest = self.extent.largest.max(elements);
        Ok(())
    }

    /// Notes a batch normalisation of inputs of this shape.
    pub(super) fn normalizes(&mut self, input: &[usize]) {
        if self.frozen {
            return;
        }
        let values = input.split_last().map_or(1, |(_, positions)| positions.iter().product());
        if self.extent.fewest.as_ref().is_none_or(|(fewest, _)| values < *fewest) {
            self.extent.fewest = Some((values, self.path.clone()));
        }
    }

    /// All parameters and buffers in the order of their declaration, and what the layers ask of a batch.
    pub(crate) fn finish(self) -> (Vec<Parameter>, Extent) {
        (self.parameters, self.extent)
    }
}

/// The three extents of an image, or a message.
pub(super) fn image(input: &[usize]) -> Result<[usize; 3], String> {
    input.try_into().map_err(|_| {
        format!("needs an image [height, width, channels], but the input has shape {input:?}")
    })
}

/// The extent of a vector, or a message.
pub(super) fn vector(input: &[usize]) -> Result<usize, String> {
    match input {
        [features] => Ok(*features),
        _ => Err(format!(
            "needs a vector, but the input has shape {input:?}; put `flatten` before it"
        )),
    }
}

/// Checks what a normalisation adds to the variance.
pub(super) fn check_epsilon(epsilon: f64) -> Result<(), String> {
    if epsilon > 0.0 && epsilon.is_finite() {
        return Ok(());
    }
    Err(format!("an epsilon of {epsilon}, expected a number above 0"))
}
