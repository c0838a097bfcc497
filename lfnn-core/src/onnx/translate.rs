//! From the operations of a predictor's program to nodes of a graph.

use std::collections::BTreeMap;

use crate::config::Task;
use crate::model::{InputElements, ModelDescription, ModelTarget};
use crate::program::{
    Activation, AdaptiveAvgPool, Conv2d, FilterLogits, LayerNorm, Linear, LoadImages, Op,
    Operation, Predictions, Role, Softmax, SwapAxes, TensorId, Window, adaptive_bin,
};
use crate::train::{PredictionProgram, StateData, StateTensor};

use super::OnnxError;
use super::graph::{GraphWriter, integer, integers, real};
use super::proto::Message;

/// A result, or what is wrong with an operation.
type Result<T> = std::result::Result<T, String>;

/// What is translated, and what has been so far.
struct Translation<'a> {
    graph: GraphWriter,
    predictor: &'a PredictionProgram,
    parameters: BTreeMap<TensorId, &'a StateTensor>,
    permutation: Option<&'a [u32]>,
    model: &'a ModelDescription,
    /// The names of the tensors written so far.
    names: BTreeMap<TensorId, String>,
}

/// The graph of a predictor.
pub(super) fn graph(
    predictor: &PredictionProgram,
    parameters: &[(TensorId, &StateTensor)],
    permutation: Option<&[u32]>,
    model: &ModelDescription,
) -> std::result::Result<Message, OnnxError> {
    let mut translation = Translation {
        graph: GraphWriter::default(),
        predictor,
        parameters: parameters.iter().copied().collect(),
        permutation,
        model,
        names: BTreeMap::new(),
    };
    for op in predictor.program().ops() {
        let failed = |problem| OnnxError::Operation { operation: op.name(), problem };
        translation.operation(op).map_err(failed)?;
    }
    translation
        .outputs()
        .map_err(|problem| OnnxError::Operation { operation: "output", problem })?;
    Ok(translation.graph.finish("predictor"))
}

impl Translation<'_> {
    fn operation(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::LoadImages(op) => self.load_images(op),
            Op::Conv2d(op) => self.conv(op),
            Op::Linear(op) => self.linear(op),
            Op::AddBias(op) => {
                let bias = self.channels(op.bias, self.is_image(op.x))?;
                self.plain("Add", &[op.x], &[&bias], op.y, vec![])
            }
            Op::Activate(op) => {
                let function = match op.function {
                    Activation::Relu => "Relu",
                    Activation::Sigmoid => "Sigmoid",
                    Activation::Tanh => "Tanh",
                };
                self.plain(function, &[op.x], &[], op.y, vec![])
            }
            Op::Add(op) => self.plain("Sum", &op.inputs, &[], op.y, vec![]),
            Op::Concat(op) => self.plain("Concat", &op.inputs, &[], op.y, vec![integer("axis", 1)]),
            Op::SwapAxes(op) => self.swap(op),
            Op::MaxPool(op) => self.plain("MaxPool", &[op.x], &[], op.y, window(op.window)),
            Op::AvgPool(op) => {
                let mut attributes = window(op.window);
                attributes.push(integer("count_include_pad", 1));
                self.plain("AveragePool", &[op.x], &[], op.y, attributes)
            }
            Op::AdaptiveAvgPool(op) => self.adaptive(op),
            Op::BatchNormInference(op) => {
                let own = [op.gamma, op.beta, op.running_mean, op.running_var]
                    .map(|id| self.channels(id, false));
                let [gamma, beta, mean, var] = own;
                let own = [&*gamma?, &*beta?, &*mean?, &*var?];
                let attributes = vec![real("epsilon", op.epsilon)];
                self.plain("BatchNormalization", &[op.x], &own, op.y, attributes)
            }
            Op::LayerNorm(op) => self.layer_norm(op),
            Op::Softmax(op) => self.softmax(op),
            Op::FilterLogits(op) => self.filter_logits(op),
            _ => Err("has no translation to ONNX".to_owned()),
        }
    }

    /// An operation that is one node: its inputs, then its constants.
    fn plain(
        &mut self,
        operation: &str,
        inputs: &[TensorId],
        constants: &[&str],
        y: TensorId,
        attributes: Vec<Message>,
    ) -> Result<()> {
        let inputs = inputs.iter().map(|&id| self.name(id)).collect::<Result<Vec<_>>>()?;
        let all: Vec<&str> =
            inputs.iter().map(String::as_str).chain(constants.iter().copied()).collect();
        let y = self.write(y);
        self.graph.node(operation, &all, &y, attributes);
        Ok(())
    }

    fn load_images(&mut self, op: &LoadImages) -> Result<()> {
        let &[_, height, width, channels] = self.shape(op.x) else {
            return Err("expected images".to_owned());
        };
        let doc = match self.model.elements {
            InputElements::Bytes => "Values from 0 to 1; the model normalises them.",
            InputElements::Reals => {
                "Values in the units of the training data; the model normalises them."
            }
        };
        let mut x = if (height, width) == (1, 1) {
            self.graph.input("features", &[channels], doc);
            let axes = self.graph.integers(&[2, 3]);
            self.graph.value("Unsqueeze", &["features", &axes], vec![])
        } else {
            self.graph.input("images", &[channels, height, width], doc);
            "images".to_owned()
        };
        if let Some(permutation) = self.permutation {
            let order: Vec<i64> = permutation.iter().map(|&from| i64::from(from)).collect();
            let order = self.graph.integers(&order);
            let row = self.graph.integers(&[0, channels as i64, -1]);
            let image = self.graph.integers(&[0, channels as i64, height as i64, width as i64]);
            x = self.graph.value("Reshape", &[&x, &row], vec![]);
            x = self.graph.value("Gather", &[&x, &order], vec![integer("axis", 2)]);
            x = self.graph.value("Reshape", &[&x, &image], vec![]);
        }
        let (scale, shift) = (self.channels(op.scale, true)?, self.channels(op.shift, true)?);
        let scaled = self.graph.value("Mul", &[&x, &scale], vec![]);
        let y = self.write(op.x);
        self.graph.node("Add", &[&scaled, &shift], &y, vec![]);
        Ok(())
    }

    fn conv(&mut self, op: &Conv2d) -> Result<()> {
        let mut constants = vec![self.parameter(op.weight, None)?];
        constants.extend(op.bias.map(|bias| self.parameter(bias, None)).transpose()?);
        let constants: Vec<&str> = constants.iter().map(String::as_str).collect();
        let mut attributes = window(op.window);
        attributes.push(integer("group", op.groups as i64));
        self.plain("Conv", &[op.x], &constants, op.y, attributes)
    }

    /// Several groups are those of a convolution over one position.
    fn linear(&mut self, op: &Linear) -> Result<()> {
        let weight = self.shape(op.weight).to_vec();
        let dims = if op.groups == 1 { weight } else { [&*weight, &[1]].concat() };
        let mut inputs = vec![self.name(op.x)?, self.parameter(op.weight, Some(&dims))?];
        inputs.extend(op.bias.map(|bias| self.parameter(bias, None)).transpose()?);
        let y = self.write(op.y);
        if op.groups == 1 {
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            self.graph.node("Gemm", &inputs, &y, vec![integer("transB", 1)]);
            return Ok(());
        }
        let axis = self.graph.integers(&[2]);
        inputs[0] = self.graph.value("Unsqueeze", &[&inputs[0], &axis], vec![]);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let product = self.graph.value("Conv", &inputs, vec![integer("group", op.groups as i64)]);
        self.graph.node("Flatten", &[&product], &y, vec![integer("axis", 1)]);
        Ok(())
    }

    /// Average pooling where the grid divides the image; otherwise the means over the bins of the rows
    /// and of the columns, each a product with a matrix.
    fn adaptive(&mut self, op: &AdaptiveAvgPool) -> Result<()> {
        let (&[_, height, width, _], &[_, rows, columns, _]) = (self.shape(op.x), self.shape(op.y))
        else {
            return Err("expected images".to_owned());
        };
        if height.is_multiple_of(rows) && width.is_multiple_of(columns) {
            let kernel = [height / rows, width / columns];
            let attributes = window(Window { kernel, stride: kernel, padding: [0, 0] });
            return self.plain("AveragePool", &[op.x], &[], op.y, attributes);
        }
        let over_rows = bins(rows, height);
        let over_columns = transposed(&bins(columns, width), width);
        let name = |grid: usize, n: usize, axis: &str| format!("bins.{axis}.{grid}.{n}");
        let (left, right) = (name(rows, height, "rows"), name(columns, width, "columns"));
        let left = self.graph.reals(&left, &[rows, height], &over_rows);
        let right = self.graph.reals(&right, &[width, columns], &over_columns);
        let x = self.name(op.x)?;
        let half = self.graph.value("MatMul", &[&left, &x], vec![]);
        let y = self.write(op.y);
        self.graph.node("MatMul", &[&half, &right], &y, vec![]);
        Ok(())
    }

    /// Images are channels-first in the graph: vectors of channels are images as they are. Patches take one axis more
    /// for each side.
    fn swap(&mut self, op: &SwapAxes) -> Result<()> {
        let (x, y) = (self.shape(op.x).to_vec(), self.shape(op.y).to_vec());
        let channels_first = |image: &[usize], other: &[usize], swap: &SwapAxes| {
            image.len() == 4
                && other.len() == 2
                && *swap == SwapAxes::channels_first(swap.x, swap.y, &image[1..])
        };
        if channels_first(&x, &y, op) {
            let axis = if y[0] == x[0] { 1 } else { 2 };
            return self.plain("Flatten", &[op.x], &[], op.y, vec![integer("axis", axis)]);
        }
        if channels_first(&y, &x, &op.inverse(op.x, op.y)) {
            let batch = if x[0] == y[0] { 0 } else { -1 };
            let shape = [y[3], y[1], y[2]].map(|extent| extent as i64);
            let shape = self.graph.integers(&[&[batch], &shape[..]].concat());
            return self.plain("Reshape", &[op.x], &[&shape], op.y, vec![]);
        }
        let (&[_, height, width, channels], &[_, rows, columns, features]) = (&x[..], &y[..])
        else {
            return Err("expected images".to_owned());
        };
        let size = [height / rows.max(1), width / columns.max(1)];
        if [op.rows, op.columns, op.run] != [size[0], columns, size[1] * channels] {
            return Err("expected patches of an image".to_owned());
        }
        let x = self.name(op.x)?;
        let cut = [channels, rows, size[0], columns, size[1]].map(|extent| extent as i64);
        let cut = self.graph.integers(&[&[0], &cut[..]].concat());
        let cut = self.graph.value("Reshape", &[&x, &cut], vec![]);
        let order = vec![integers("perm", &[0, 3, 5, 1, 2, 4])];
        let patches = self.graph.value("Transpose", &[&cut], order);
        let shape = [features, rows, columns].map(|extent| extent as i64);
        let shape = self.graph.integers(&[&[0], &shape[..]].concat());
        let y = self.write(op.y);
        self.graph.node("Reshape", &[&patches, &shape], &y, vec![]);
        Ok(())
    }

    /// Statistics over an axis of its own for the channels of a run.
    fn layer_norm(&mut self, op: &LayerNorm) -> Result<()> {
        let shape = self.shape(op.x).to_vec();
        let channels = self.predictor.set.tensors().channels(op.x);
        let x = self.name(op.x)?;
        let runs = self.graph.integers(&[0, (channels / op.width) as i64, op.width as i64, -1]);
        let runs = self.graph.value("Reshape", &[&x, &runs], vec![]);
        let over = || vec![integers("axes", &[2])];
        let mean = self.graph.value("ReduceMean", &[&runs], over());
        let centred = self.graph.value("Sub", &[&runs, &mean], vec![]);
        let squares = self.graph.value("Mul", &[&centred, &centred], vec![]);
        let variance = self.graph.value("ReduceMean", &[&squares], over());
        let epsilon = format!("epsilon{}", op.epsilon);
        let epsilon = self.graph.reals(&epsilon, &[1], &[op.epsilon as f32]);
        let variance = self.graph.value("Add", &[&variance, &epsilon], vec![]);
        let std = self.graph.value("Sqrt", &[&variance], vec![]);
        let y = self.write(op.y);
        let normalized = self.graph.value("Div", &[&centred, &std], vec![]);
        let mut back = vec![0, channels as i64];
        if let [_, height, width, _] = shape[..] {
            back.extend([height as i64, width as i64]);
        }
        let back = self.graph.integers(&back);
        self.graph.node("Reshape", &[&normalized, &back], &y, vec![]);
        Ok(())
    }

    fn softmax(&mut self, op: &Softmax) -> Result<()> {
        let features = self.predictor.set.tensors().channels(op.x);
        let last = || vec![integer("axis", -1)];
        if features == op.width {
            return self.plain("Softmax", &[op.x], &[], op.y, last());
        }
        let x = self.name(op.x)?;
        let runs = self.graph.integers(&[0, -1, op.width as i64]);
        let runs = self.graph.value("Reshape", &[&x, &runs], vec![]);
        let softmax = self.graph.value("Softmax", &[&runs], last());
        let y = self.write(op.y);
        self.graph.node("Flatten", &[&softmax], &y, vec![integer("axis", 1)]);
        Ok(())
    }

    /// Means over space and over the filters of each worker and class.
    fn filter_logits(&mut self, op: &FilterLogits) -> Result<()> {
        let &FilterLogits { workers, width, .. } = op;
        let filters = self.predictor.set.tensors().channels(op.x) / (workers * width).max(1);
        let shape = [workers, filters, width].map(|extent| extent as i64);
        let shape = self.graph.integers(&[&[0], &shape[..], &[-1]].concat());
        let x = self.name(op.x)?;
        let divided = self.graph.value("Reshape", &[&x, &shape], vec![]);
        let over = vec![integers("axes", &[2, 4]), integer("keepdims", 0)];
        let means = self.graph.value("ReduceMean", &[&divided], over);
        let scale = self.graph.reals(&format!("scale{}", op.scale), &[1], &[op.scale as f32]);
        let scaled = self.graph.value("Mul", &[&means, &scale], vec![]);
        let z = self.write(op.z);
        self.graph.node("Flatten", &[&scaled], &z, vec![integer("axis", 1)]);
        Ok(())
    }

    /// Declares the outputs of the network, then those of the workers of each unit.
    fn outputs(&mut self) -> Result<()> {
        let outputs = self.name(self.predictor.outputs)?;
        let names = self.model.names().len();
        let logits = match &self.model.target {
            ModelTarget::Classes { .. } => Some(self.name(self.predictor.logits)?),
            ModelTarget::Values { .. } => None,
        };
        if let Some(logits) = logits {
            let doc = "One for each class, in the order of the metadata's `classes`.";
            self.output("probabilities", &outputs, &[names], doc);
            self.graph.node("Identity", &[&logits], "logits", vec![]);
            let width = self.predictor.set.tensors().channels(self.predictor.logits);
            self.graph.output("logits", &[width], "What the probabilities are made of.");
        } else {
            let doc = "In the units of the training data, in the order of the metadata's `values`.";
            self.output("values", &outputs, &[names], doc);
        }
        for (number, &(id, predictions)) in (1..).zip(&self.predictor.workers) {
            let Predictions { classifiers, workers, classes } = predictions;
            let mut outputs = self.name(id)?;
            // Classifier by classifier, with the workers of each.
            if classifiers > 1 {
                let shape = [0, classifiers, workers, classes].map(|extent| extent as i64);
                let shape = self.graph.integers(&shape);
                let divided = self.graph.value("Reshape", &[&outputs, &shape], vec![]);
                let order = vec![integers("perm", &[0, 2, 1, 3])];
                outputs = self.graph.value("Transpose", &[&divided], order);
            }
            let shape = self.graph.integers(&[0, workers as i64, predictions.outputs() as i64]);
            let outputs = self.graph.value("Reshape", &[&outputs, &shape], vec![]);
            let doc = format!("What the workers of unit {number} predict, in the same order.");
            self.output(&format!("unit{number}"), &outputs, &[workers, names], &doc);
        }
        Ok(())
    }

    /// Declares an output made of the network's own numbers, along the last axis: a binary network's one probability
    /// becomes that of each class, and numbers are no longer standardised.
    fn output(&mut self, name: &str, outputs: &str, shape: &[usize], doc: &str) {
        let width = shape.last().copied().unwrap_or_default();
        match &self.model.target {
            ModelTarget::Classes { .. } if self.model.network.task == Task::Binary => {
                let one = self.graph.reals("one", &[1], &[1.0]);
                let other = self.graph.value("Sub", &[&one, outputs], vec![]);
                let axis = vec![integer("axis", -1)];
                self.graph.node("Concat", &[&other, outputs], name, axis);
            }
            ModelTarget::Classes { .. } => {
                self.graph.node("Identity", &[outputs], name, vec![]);
            }
            ModelTarget::Values { mean, std, .. } => {
                let std = self.graph.reals("values.std", &[width], std);
                let scaled = self.graph.value("Mul", &[outputs, &std], vec![]);
                let mean = self.graph.reals("values.mean", &[width], mean);
                self.graph.node("Add", &[&scaled, &mean], name, vec![]);
            }
        }
        self.graph.output(name, shape, doc);
    }

    fn shape(&self, id: TensorId) -> &[usize] {
        &self.predictor.set.tensors()[id].shape
    }

    fn is_image(&self, id: TensorId) -> bool {
        self.shape(id).len() == 4
    }

    /// The name of a tensor that has been written.
    fn name(&self, id: TensorId) -> Result<String> {
        let name = self.names.get(&id).cloned();
        name.ok_or_else(|| format!("`{}` is not written", self.predictor.set.tensors()[id].name))
    }

    /// The name of a tensor that is being written.
    fn write(&mut self, id: TensorId) -> String {
        let name = format!("{}.{}", self.predictor.set.tensors()[id].name, id.index());
        self.names.insert(id, name.clone());
        name
    }

    /// The constant of a vector with a number for each channel, shaped to meet images or vectors.
    fn channels(&mut self, id: TensorId, image: bool) -> Result<String> {
        let channels = self.shape(id)[0];
        if image { self.parameter(id, Some(&[channels, 1, 1])) } else { self.parameter(id, None) }
    }

    /// The constant of a parameter, in the shape of the saved state if no other is given.
    fn parameter(&mut self, id: TensorId, dims: Option<&[usize]>) -> Result<String> {
        let tensor = &self.predictor.set.tensors()[id];
        if tensor.role == Role::Zeros {
            let (dims, zeros) = (dims.unwrap_or(&tensor.shape), vec![0.0; tensor.len()]);
            return Ok(self.graph.reals(&format!("zeros{}", id.index()), dims, &zeros));
        }
        let saved = self.parameters.get(&id).ok_or("reads a tensor that is not a parameter")?;
        let StateData::Real(data) = &saved.data else {
            return Err("reads whole numbers".to_owned());
        };
        Ok(self.graph.reals(&saved.name, dims.unwrap_or(&saved.shape), data))
    }
}

fn window(window: Window) -> Vec<Message> {
    let [top, left] = window.padding;
    vec![
        integers("kernel_shape", &window.kernel),
        integers("strides", &window.stride),
        integers("pads", &[top, left, top, left]),
    ]
}

/// `[grid, n]`: row i averages the positions of bin i.
fn bins(grid: usize, n: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; grid * n];
    for (i, row) in matrix.chunks_mut(n.max(1)).enumerate() {
        let bin = adaptive_bin(i, grid, n);
        let share = 1.0 / bin.len() as f32;
        row[bin].fill(share);
    }
    matrix
}

/// The transpose of a matrix with rows of `n` elements.
fn transposed(matrix: &[f32], n: usize) -> Vec<f32> {
    (0..n).flat_map(|column| matrix.iter().skip(column).step_by(n.max(1)).copied()).collect()
}
