//! A training step of a layer-wise leader–follower network, written down without the core's layers:
//! for the tests of this crate and for the example that times it.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use lfnn_core::backend::TensorData;
use lfnn_core::program::*;
use lfnn_core::random::{Purpose, Stream, normal_pair};

const WORKERS: usize = 4;
const CLASSES: usize = 10;

/// Host data to upload.
pub enum Data {
    /// Real numbers.
    Real(Vec<f32>),
    /// Whole numbers.
    U32(Vec<u32>),
    /// Bytes.
    U8(Vec<u8>),
}

impl Data {
    /// As the backend takes it.
    pub fn as_tensor(&self) -> TensorData<'_> {
        match self {
            Data::Real(data) => TensorData::Real(data),
            Data::U32(data) => TensorData::U32(data),
            Data::U8(data) => TensorData::U8(data),
        }
    }
}

/// A training step as it is written down.
pub struct Step {
    set: ProgramSet,
    ops: Vec<Op>,
    /// At which operation each unit begins.
    begins: Vec<usize>,
    uploads: Vec<(TensorId, Data)>,
    counter: TensorId,
    rates: TensorId,
    target: TensorId,
    /// The activation that the next unit reads.
    x: TensorId,
    batch: usize,
    units: u32,
}

impl Step {
    /// A step on images of this size.
    pub fn new(batch: usize, side: usize, channels: usize) -> Self {
        let images = 2 * batch;
        let mut set = ProgramSet::new();
        let counter = set.persistent("step_counter", DType::U32, &[step_counter::LEN]);
        let order = set.persistent("order", DType::U32, &[images]);
        let labels = set.persistent("labels", DType::U32, &[images]);
        let pixels = set.persistent("pixels", DType::U8, &[images, side, side, channels]);
        let scale = set.persistent("scale", DType::Real, &[channels]);
        let shift = set.persistent("shift", DType::Real, &[channels]);
        let rates = set.persistent("rates", DType::Real, &[1]);
        let mut now = vec![0; step_counter::LEN];
        now[step_counter::COUNT] = images as u32;
        let bytes = (0..images * side * side * channels).map(|i| (i * 7919 % 251) as u8).collect();
        let uploads = vec![
            (counter, Data::U32(now)),
            (order, Data::U32((0..images as u32).collect())),
            (labels, Data::U32((0..images as u32).map(|i| i % CLASSES as u32).collect())),
            (pixels, Data::U8(bytes)),
            (scale, Data::Real(vec![3.0; channels])),
            (shift, Data::Real(vec![-1.5; channels])),
            (rates, Data::Real(vec![1e-3])),
        ];
        let mut b = set.build("parts");
        let x = b.real("x", &[batch, side, side, channels]);
        let target = b.temporary("target", DType::U32, &[batch]);
        let ops = vec![
            LoadImages { pixels, order, counter, scale, shift, x, augment: None }.into(),
            LoadLabels { labels, order, counter, target }.into(),
        ];
        Self { set, ops, begins: Vec::new(), uploads, counter, rates, target, x, batch, units: 0 }
    }

    fn real(&mut self, shape: &[usize]) -> TensorId {
        self.set.build("parts").real("t", shape)
    }

    fn vector(&mut self, n: usize, value: f32) -> TensorId {
        let id = self.set.persistent("v", DType::Real, &[n]);
        self.uploads.push((id, Data::Real(vec![value; n])));
        id
    }

    /// A parameter with He's initial values.
    fn weight(&mut self, shape: &[usize]) -> TensorId {
        let id = self.set.persistent("w", DType::Real, shape);
        let n: usize = shape.iter().product();
        let std = (2.0 / (n / shape[0]) as f64).sqrt();
        let stream = Stream::new(Purpose::Init, id.index() as u32);
        let values = (0..n.div_ceil(2) as u32)
            .flat_map(|i| {
                let words = stream.block(1, 0, 0, i);
                normal_pair(words[0], words[1]).map(|z| (z * std) as f32)
            })
            .take(n)
            .collect();
        self.uploads.push((id, Data::Real(values)));
        id
    }

    fn adam(&mut self, parameter: TensorId, gradient: TensorId) {
        let shape = self.set.tensors()[parameter].shape.clone();
        let first = self.set.persistent("m", DType::Real, &shape);
        let second = self.set.persistent("v", DType::Real, &shape);
        self.ops.push(
            AdamStep {
                gradient,
                rates: self.rates,
                counter: self.counter,
                factor: None,
                parameter,
                first,
                second,
                betas: [0.9, 0.999],
                epsilon: 1e-8,
                weight_decay: 0.01,
                decoupled: true,
            }
            .into(),
        );
    }

    /// Convolution, batch normalisation, ReLU, perhaps pooling, readouts, and the unit's update.
    pub fn unit(&mut self, filters: usize, pool: bool) {
        self.begins.push(self.ops.len());
        let [batch, height, width, channels] = *self.set.tensors()[self.x].shape.as_slice() else {
            panic!("an image")
        };
        let x = self.x;
        let image = [batch, height, width, filters];
        let weight = self.weight(&[filters, 3, 3, channels]);
        let (gamma, beta) = (self.vector(filters, 1.0), self.vector(filters, 0.0));
        let (running_mean, running_var) = (self.vector(filters, 0.0), self.vector(filters, 1.0));
        let [c, n, a, da, dn, dc] = std::array::from_fn(|_| self.real(&image));
        let [mean, inv_std, dgamma, dbeta] = std::array::from_fn(|_| self.real(&[filters]));
        let window = Window::square(3, 1, 1);
        self.ops.push(Conv2d { x, weight, bias: None, y: c, window, groups: 1 }.into());
        self.ops.push(
            BatchNorm {
                x: c,
                gamma,
                beta,
                y: n,
                mean,
                inv_std,
                running_mean,
                running_var,
                momentum: 0.1,
                epsilon: 1e-5,
            }
            .into(),
        );
        let function = Activation::Relu;
        self.ops.push(Activate { x: n, y: a, function }.into());
        // Readouts of the features on a grid; what the next unit sees is pooled.
        let side = if pool { 4 } else { 2 };
        let features = side * side * filters;
        let grid = self.real(&[batch, side, side, filters]);
        let flat = self.real(&[batch, features]);
        self.ops.push(AdaptiveAvgPool { x: a, y: grid }.into());
        let flatten = SwapAxes::channels_first(grid, flat, &[side, side, filters]);
        self.ops.push(flatten.clone().into());
        let dflat = self.readout(flat, features);
        let dgrid = self.real(&[batch, side, side, filters]);
        self.ops.push(flatten.inverse(dflat, dgrid).into());
        self.ops.push(AdaptiveAvgPoolGrad { dy: dgrid, dx: da }.into());
        self.ops.push(ActivateGrad { y: a, dy: da, dx: dn, function }.into());
        self.ops.push(
            BatchNormGrad {
                x: c,
                mean,
                inv_std,
                gamma,
                dy: dn,
                dx: Some(dc),
                dgamma: Some(dgamma),
                dbeta: Some(dbeta),
            }
            .into(),
        );
        let dweight = self.real(&[filters, 3, 3, channels]);
        self.ops
            .push(Conv2dWeightGrad { x, dy: dc, dweight, dbias: None, window, groups: 1 }.into());
        for (parameter, gradient) in [(weight, dweight), (gamma, dgamma), (beta, dbeta)] {
            self.adam(parameter, gradient);
        }
        self.x = a;
        if pool {
            let out = self.real(&[batch, height / 2, width / 2, filters]);
            let window = Window::square(2, 2, 0);
            self.ops.push(MaxPool { x: a, y: out, position: None, window }.into());
            self.x = out;
        }
    }

    /// The activation as a vector.
    pub fn flatten(&mut self) {
        let shape = self.set.tensors()[self.x].shape.clone();
        let flat = self.real(&[self.batch, shape[1..].iter().product()]);
        self.ops.push(SwapAxes::channels_first(self.x, flat, &shape).into());
        self.x = flat;
    }

    /// A fully connected layer with ReLU, and its update.
    pub fn dense(&mut self, units: usize) {
        self.begins.push(self.ops.len());
        let x = self.x;
        let features = self.set.tensors()[x].shape[1];
        let (weight, bias) = (self.weight(&[units, features]), self.vector(units, 0.0));
        let [z, a, dz] = std::array::from_fn(|_| self.real(&[self.batch, units]));
        let function = Activation::Relu;
        self.ops.push(Linear { x, weight, bias: Some(bias), y: z, groups: 1 }.into());
        self.ops.push(Activate { x: z, y: a, function }.into());
        let da = self.readout(a, units);
        self.ops.push(ActivateGrad { y: a, dy: da, dx: dz, function }.into());
        let (dweight, dbias) = (self.real(&[units, features]), self.real(&[units]));
        self.ops
            .push(LinearWeightGrad { x, dy: dz, dweight, dbias: Some(dbias), groups: 1 }.into());
        self.adam(weight, dweight);
        self.adam(bias, dbias);
        self.x = a;
    }

    /// Workers' readouts of these features, the local losses, and the gradient of the features.
    fn readout(&mut self, features: TensorId, width: usize) -> TensorId {
        let batch = self.batch;
        self.units += 1;
        let predictions = Predictions { classifiers: 1, workers: WORKERS, classes: CLASSES };
        let (logits, each) = (WORKERS * CLASSES, width / WORKERS);
        let (weight, bias) = (self.weight(&[logits, each]), self.vector(logits, 0.0));
        let [z, output, dz] = std::array::from_fn(|_| self.real(&[batch, logits]));
        let losses = self.real(&[batch, WORKERS]);
        let (mean, leaders) = (self.real(&[WORKERS]), self.real(&[1, WORKERS]));
        let reference = self.real(&[batch, CLASSES]);
        let best = self.set.build("parts").temporary("best", DType::U32, &[1, 1]);
        let nonfinite = self.set.persistent("nonfinite", DType::U32, &[1]);
        let wrong = self.vector(WORKERS, 0.0);
        let dfeatures = self.real(&[batch, width]);
        let (dweight, dbias) = (self.real(&[logits, each]), self.real(&[logits]));
        let loss = Loss::CrossEntropy { smoothing: 0.0 };
        let (target, counter) = (self.target, self.counter);
        let ops: [Op; 9] = [
            Linear { x: features, weight, bias: Some(bias), y: z, groups: WORKERS }.into(),
            WorkerLoss { z, target, weights: None, output, losses, predictions, loss }.into(),
            MeanWorkerLoss { losses, mean, nonfinite }.into(),
            SelectLeaders { losses: mean, leaders, best, predictions, count: 3 }.into(),
            AlignmentTarget {
                value: output,
                leaders,
                best,
                counter,
                reference,
                predictions,
                rule: Reference::Best,
            }
            .into(),
            LocalLossGradient {
                z,
                output,
                target,
                weights: None,
                leaders,
                reference,
                dz,
                predictions,
                loss: LocalLoss { leader: 1.0, follower: 1.0 },
                worker_loss: loss,
                reduction: Reduction::Sum,
                follower: FollowerLoss::default(),
            }
            .into(),
            CountErrors {
                output,
                target,
                counter,
                wrong,
                predictions,
                decision: Decision::Largest,
            }
            .into(),
            LinearWeightGrad { x: features, dy: dz, dweight, dbias: Some(dbias), groups: WORKERS }
                .into(),
            LinearInputGrad { dy: dz, weight, dx: dfeatures, groups: WORKERS }.into(),
        ];
        self.ops.extend(ops);
        self.adam(weight, dweight);
        self.adam(bias, dbias);
        dfeatures
    }

    /// A direction, the derivatives of the batch and of each example along it, and the direction again.
    pub fn perturb(&mut self) {
        let (x, counter, batch) = (self.x, self.counter, self.batch);
        let shape = self.set.tensors()[x].shape.clone();
        let stream = Stream::new(Purpose::Perturbation, 0);
        let [tangent, dy] = std::array::from_fn(|_| self.real(&shape));
        let (whole, each) = (self.real(&[1, 1, 1]), self.real(&[batch, 1, 1]));
        self.ops.push(Gaussian { counter, factor: None, y: tangent, stream }.into());
        for (factor, estimate) in [(whole, dy), (each, tangent)] {
            self.ops.push(InnerProduct { a: x, b: tangent, y: factor, scale: 1.0 }.into());
            self.ops.push(Gaussian { counter, factor: Some(factor), y: estimate, stream }.into());
        }
        let y = self.set.persistent("estimates", DType::Real, &shape);
        self.ops.push(Add { inputs: vec![dy, tangent], y }.into());
    }

    /// Similarity matching of the activation, and its forward-mode rule along the activation itself.
    pub fn match_similarity(&mut self) {
        let (x, target, batch) = (self.x, self.target, self.batch);
        let shape = self.set.tensors()[x].shape.clone();
        let width = shape[shape.len() - 1];
        let [mean, deviation, n, dn, ds] = std::array::from_fn(|_| self.real(&[batch, width]));
        let [similarity, gradient] = std::array::from_fn(|_| self.real(&[batch, batch]));
        let (norm, losses) =
            (self.real(&[batch]), self.set.persistent("l", DType::Real, &[batch, 1]));
        let dx = self.set.persistent("matched", DType::Real, &shape);
        let dy = self.set.persistent("tangent", DType::Real, &[batch, width]);
        let (classes, weight) = (CLASSES, 1.0);
        self.ops.extend([
            Op::from(Deviation { x, mean, y: deviation }),
            NormalizeRows { x: deviation, norm, y: n }.into(),
            Linear { x: n, weight: n, bias: None, y: similarity, groups: 1 }.into(),
            SimilarityLoss { similarity, target, gradient, losses, classes, weight }.into(),
            LinearInputGrad { dy: gradient, weight: n, dx: dn, groups: 1 }.into(),
            NormalizeRowsGrad { y: n, norm, dy: dn, dx: ds }.into(),
            DeviationGrad { x, mean, y: deviation, dy: ds, dx }.into(),
            DeviationTangent { x, mean, y: deviation, dx: x, dy }.into(),
        ]);
    }

    /// The program set, its program, and what to upload.
    #[allow(clippy::type_complexity, reason = "used in three places")]
    pub fn finish(
        mut self,
    ) -> Result<(ProgramSet, ProgramId, Vec<(TensorId, Data)>), ProgramError> {
        let mut b = self.set.build("train");
        let mut begins = self.begins.iter().zip(1..).peekable();
        for (i, op) in self.ops.into_iter().enumerate() {
            if let Some((_, unit)) = begins.next_if(|(begin, _)| **begin == i) {
                b.part(Part::Unit(unit));
            }
            b.push(op);
        }
        b.part(Part::Batch);
        b.push(AdvanceStepCounter { counter: self.counter });
        let program = b.finish()?;
        Ok((self.set, program, self.uploads))
    }
}
