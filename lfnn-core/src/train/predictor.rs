//! A trained network on a device: predictions for any number of inputs.

use ndarray::{Array1, Array2, Array3};

use super::data::{Images, Labels};
use super::error::TrainError;
use super::evaluation::{EvaluationPlan, Evaluator};
use crate::backend::Backend;
use crate::data::{Dataset, Inputs};
use crate::metric::Metrics;
use crate::model::{Model, ModelDescription, ModelTarget};
use crate::program::Predictions;

/// A trained network on a device. It is compiled once and predicts any number of inputs, a batch at a time.
#[derive(Debug)]
pub struct Predictor {
    description: ModelDescription,
    evaluator: Evaluator,
    batch: usize,
    /// How the outputs of each unit's workers are divided; none where they do not predict.
    units: Vec<Predictions>,
}

impl Model {
    /// Prepares the network's predictions on a device, so many at a time.
    ///
    /// # Errors
    /// A state that does not fit the network, or a failure of the backend.
    pub fn on(&self, backend: &dyn Backend, batch: usize) -> Result<Predictor, TrainError> {
        let description = self.description.clone();
        let batch = batch.max(1);
        let (layout, workers) = (description.layout(batch), description.workers_predict());
        let plan = EvaluationPlan::new(&description.network, layout, &self.state, batch, workers)?;
        let units = plan.worker_predictions();
        Ok(Predictor { evaluator: plan.prepare(backend)?, description, batch, units })
    }
}

impl Predictor {
    /// What the network is.
    pub fn description(&self) -> &ModelDescription {
        &self.description
    }

    /// The prediction for each input: probabilities of the classes, `[inputs, classes]`, or the numbers predicted,
    /// `[inputs, values]`, in the units of the training data.
    ///
    /// # Errors
    /// Inputs of another shape or type than those of the training, a number that is not finite, or a failure of the
    /// backend.
    pub fn predict<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
    ) -> Result<Array2<f32>, TrainError> {
        let inputs = inputs.into();
        let mut predictions = Array2::zeros((inputs.len(), self.description.names().len()));
        let mut rows = predictions.rows_mut().into_iter();
        self.run(&inputs, None, |predictor, count| {
            let (outputs, features) = predictor.evaluator.probabilities()?;
            for (output, mut row) in outputs.chunks(features).take(count).zip(&mut rows) {
                let prediction = predictor.description.target.prediction(output);
                row.iter_mut().zip(prediction).for_each(|(to, from)| *to = from);
            }
            Ok(())
        })?;
        Ok(predictions)
    }

    /// The most probable class of each input, `[inputs]`.
    ///
    /// # Errors
    /// As [`predict`](Self::predict), and a regression.
    pub fn predict_classes<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
    ) -> Result<Array1<u32>, TrainError> {
        if let ModelTarget::Values { .. } = self.description.target {
            return Err(TrainError::NoClasses);
        }
        let probabilities = self.predict(inputs)?;
        Ok(probabilities.rows().into_iter().map(|row| largest(row.iter())).collect())
    }

    /// What the workers of each hidden unit predict, `[inputs, workers, classes]` for each unit: probabilities, or
    /// numbers in the units of the training data. Of a binary network it is the probability of the second class, and
    /// of independent classifiers `[inputs, workers, classifiers]`. Empty where the method does not train workers.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_workers<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
    ) -> Result<Vec<Array3<f32>>, TrainError> {
        let inputs = inputs.into();
        let shape = |of: &Predictions| (inputs.len(), of.workers, of.classifiers * of.classes);
        let mut all: Vec<Array3<f32>> =
            self.units.iter().map(|of| Array3::zeros(shape(of))).collect();
        let mut first = 0;
        self.run(&inputs, None, |predictor, count| {
            let outputs = predictor.evaluator.worker_outputs()?;
            for ((all, of), outputs) in all.iter_mut().zip(&predictor.units).zip(outputs) {
                for (row, output) in outputs.chunks(of.features()).take(count).enumerate() {
                    for (at, &value) in output.iter().enumerate() {
                        let (predictor, class) = (at / of.classes, at % of.classes);
                        let (classifier, worker) = (predictor / of.workers, predictor % of.workers);
                        all[[first + row, worker, classifier * of.classes + class]] = value;
                    }
                }
            }
            first += count;
            Ok(())
        })?;
        if let ModelTarget::Values { mean, std, .. } = &self.description.target {
            for mut row in all.iter_mut().flat_map(|unit| unit.rows_mut()) {
                let scales = mean.iter().zip(std);
                row.iter_mut().zip(scales).for_each(|(x, (mean, std))| *x = *x * std + mean);
            }
        }
        Ok(all)
    }

    /// Loss and error on any data set with the inputs and classes of the training data. In a regression the loss is that
    /// of standardised values.
    ///
    /// # Errors
    /// As [`predict`](Self::predict), and other classes or numbers to predict than those of the training.
    pub fn evaluate(&mut self, data: &Dataset<'_>) -> Result<Metrics, TrainError> {
        let (expected, found) = (self.description.names().len(), data.names().len());
        if found != expected {
            return Err(TrainError::Outputs { found, expected });
        }
        let inputs = data.inputs();
        let (labels, values) = (data.labels(), self.description.target.standardize(&data.values()));
        let labels = match &self.description.target {
            ModelTarget::Classes { .. } => Labels::Classes(&labels),
            ModelTarget::Values { .. } => Labels::Values(&values),
        };
        self.evaluator.clear().map_err(TrainError::Backend)?;
        self.run(&inputs, Some(labels), |_, _| Ok(()))?;
        let batches = inputs.len().div_ceil(self.batch);
        self.evaluator.metrics(batches, inputs.len()).map_err(TrainError::Backend)
    }

    /// Runs the network on the inputs, batch by batch, and hands over after each how many of its rows count.
    fn run(
        &mut self,
        inputs: &Inputs<'_>,
        labels: Option<Labels<'_>>,
        mut take: impl FnMut(&Self, usize) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        self.description.check(inputs)?;
        let classes = self.description.names().len();
        let none = match self.description.target {
            ModelTarget::Classes { .. } => Labels::Classes(&[]),
            ModelTarget::Values { .. } => Labels::Values(&[]),
        };
        let labels = labels.unwrap_or(none);
        let mut first = 0;
        while first < inputs.len() {
            let count = self.batch.min(inputs.len() - first);
            let rows = first..first + count;
            let pixels = inputs.pixels();
            let images = Images { pixels, labels, shape: inputs.shape(), classes };
            self.evaluator.run_batch(images, rows, self.batch).map_err(TrainError::Backend)?;
            take(self, count)?;
            first += count;
        }
        Ok(())
    }
}

/// The position of the largest number, the first of equal ones.
fn largest<'a>(row: impl Iterator<Item = &'a f32>) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (at, &value) in (0..).zip(row) {
        if value > best.1 {
            best = (at, value);
        }
    }
    best.0
}
