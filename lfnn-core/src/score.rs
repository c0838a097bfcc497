//! Scores of predictions on the host: confusion matrix, F1, AUC and calibration of classes; errors and R² of numbers.
//!
//! ```
//! use lfnn_core::score::{ClassScores, ValueScore};
//!
//! // The probabilities of two classes for three examples, and the true class of each.
//! let scores = ClassScores::new(&[0.9, 0.1, 0.4, 0.6, 0.7, 0.3], &[0, 1, 1], 2)?;
//! assert_eq!(scores.confusion, [[1, 0], [1, 1]]);
//! assert_eq!(scores.auc, Some(1.0));
//!
//! let scores = ValueScore::of(&[1.5, 2.0, 3.0], &[1.0, 2.0, 3.0], 1)?;
//! assert_eq!(scores[0].r2, Some(0.875));
//! # Ok::<(), lfnn_core::train::TrainError>(())
//! ```

use serde::{Deserialize, Serialize};

use crate::train::{TrainError, check_labels};

/// Bins of equal width in which probabilities are compared with frequencies.
const BINS: usize = 15;
/// Guesses of which one must be right, with more classes than that.
const GUESSES: usize = 5;

/// How good predicted classes are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// Examples of each class (row) by the class that was predicted (column).
    pub confusion: Vec<Vec<usize>>,
    /// Scores of each class.
    pub classes: Vec<ClassScore>,
    /// Share of wrong predictions, in percent. Of equal probabilities the first is the prediction.
    pub error: f64,
    /// Share of examples whose class is not among the five most probable, in percent; none with five classes or fewer.
    pub top5_error: Option<f64>,
    /// Mean of F1 over the classes that occur or are predicted.
    pub f1: f64,
    /// Area under the ROC curve of the second class: how often an example of it gets a higher probability than one of
    /// the first, where equal ones count half. None unless there are two classes and both occur.
    pub auc: Option<f64>,
    /// Expected calibration error: the difference between the probability of the predicted class and how often it is
    /// right, in 15 bins of equal width, averaged over the examples (Guo et al. 2017, Eq. 3).
    pub calibration_error: f64,
}

/// How good the predictions of one class are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScore {
    /// Examples of the class.
    pub examples: usize,
    /// Share of them that were predicted as another class, in percent; none if there are no examples.
    pub error: Option<f64>,
    /// Share of the examples predicted as this class that are of it; 0 if none was.
    pub precision: f64,
    /// Share of the examples of this class that were predicted as it; 0 if there are none.
    pub recall: f64,
    /// Harmonic mean of both; 0 if there is none.
    pub f1: f64,
}

/// How good predictions of one number are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueScore {
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// 1 − (sum of squared errors) / (sum of squared differences from the mean); none if the true numbers are all equal.
    pub r2: Option<f64>,
}

impl ClassScores {
    /// Scores of the probabilities `[examples, classes]` of examples with these labels.
    ///
    /// # Errors
    /// No examples, another number of probabilities, or a label that is no class.
    pub fn new(probabilities: &[f32], labels: &[u32], classes: usize) -> Result<Self, TrainError> {
        expect_rows("probabilities", probabilities.len(), labels.len(), classes)?;
        check_labels(labels, classes)?;
        let count = labels.len() as f64;
        let mut confusion = vec![vec![0; classes]; classes];
        let mut bins = [(0usize, 0.0f64, 0usize); BINS];
        let mut missed = 0usize;
        for (row, &label) in probabilities.chunks_exact(classes).zip(labels) {
            let label = label as usize;
            let predicted = Self::predicted(row);
            confusion[label][predicted] += 1;
            missed += usize::from(row.iter().filter(|&&p| p > row[label]).count() >= GUESSES);
            let confidence = f64::from(row[predicted]);
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            let (examples, confidences, right) = &mut bins[bin];
            *examples += 1;
            *confidences += confidence;
            *right += usize::from(predicted == label);
        }
        let right: usize = (0..classes).map(|class| confusion[class][class]).sum();
        let scores: Vec<ClassScore> =
            (0..classes).map(|class| ClassScore::new(&confusion, class)).collect();
        let occurs = |class: usize| {
            confusion.iter().enumerate().any(|(row, columns)| match row == class {
                true => columns.iter().any(|&count| count > 0),
                false => columns[class] > 0,
            })
        };
        let f1: Vec<f64> =
            (0..classes).filter(|&class| occurs(class)).map(|class| scores[class].f1).collect();
        let gaps = bins.iter().map(|(_, confidences, right)| (*right as f64 - confidences).abs());
        let positive = |(row, &label): (&[f32], &u32)| (row[1], label == 1);
        let auc = (classes == 2)
            .then(|| auc(probabilities.chunks_exact(2).zip(labels).map(positive).collect()));
        Ok(Self {
            error: 100.0 * (1.0 - right as f64 / count),
            top5_error: (classes > GUESSES).then_some(100.0 * missed as f64 / count),
            f1: f1.iter().sum::<f64>() / f1.len().max(1) as f64,
            auc: auc.flatten(),
            calibration_error: gaps.sum::<f64>() / count,
            classes: scores,
            confusion,
        })
    }

    /// The class with the largest of these probabilities, the first of equal ones.
    pub fn predicted(probabilities: &[f32]) -> usize {
        let better = |best: usize, at: usize| {
            if probabilities[at] > probabilities[best] { at } else { best }
        };
        (1..probabilities.len()).fold(0, better)
    }
}

impl ClassScore {
    fn new(confusion: &[Vec<usize>], class: usize) -> Self {
        let right = confusion[class][class] as f64;
        let examples: usize = confusion[class].iter().sum();
        let predicted: usize = confusion.iter().map(|row| row[class]).sum();
        let share = |of: usize| if of == 0 { 0.0 } else { right / of as f64 };
        Self {
            examples,
            error: (examples > 0).then(|| 100.0 * (1.0 - share(examples))),
            precision: share(predicted),
            recall: share(examples),
            // 2 · precision · recall / (precision + recall).
            f1: if examples + predicted == 0 {
                0.0
            } else {
                2.0 * right / (examples + predicted) as f64
            },
        }
    }
}

impl ValueScore {
    /// Scores of each of `columns` numbers, from predictions and true numbers `[examples, columns]`.
    ///
    /// # Errors
    /// No examples, or another number of predictions than of true numbers.
    pub fn of(predicted: &[f32], values: &[f32], columns: usize) -> Result<Vec<Self>, TrainError> {
        let examples = values.len() / columns.max(1);
        expect_rows("values", values.len(), examples, columns)?;
        expect_rows("predictions", predicted.len(), examples, columns)?;
        let score = |column: usize| {
            let of = |all: &[f32], row: usize| f64::from(all[row * columns + column]);
            let sum = |term: &dyn Fn(usize) -> f64| (0..examples).map(term).sum::<f64>();
            let count = examples as f64;
            let difference = |row| of(predicted, row) - of(values, row);
            let squared = sum(&|row| difference(row).powi(2));
            let mean = sum(&|row| of(values, row)) / count;
            let spread = sum(&|row| (of(values, row) - mean).powi(2));
            Self {
                mse: squared / count,
                mae: sum(&|row| difference(row).abs()) / count,
                r2: (spread > 0.0).then(|| 1.0 - squared / spread),
            }
        };
        Ok((0..columns).map(score).collect())
    }
}

fn expect_rows(
    what: &'static str,
    found: usize,
    rows: usize,
    columns: usize,
) -> Result<(), TrainError> {
    if rows == 0 || columns == 0 || rows.checked_mul(columns) != Some(found) {
        return Err(TrainError::Scored { what, found, examples: rows, columns });
    }
    Ok(())
}

/// Area under the ROC curve, from the score of each example and whether it is positive: the statistic of Mann and
/// Whitney, by the sum of the positives' ranks.
fn auc(mut scores: Vec<(f32, bool)>) -> Option<f64> {
    scores.sort_by(|one, other| one.0.total_cmp(&other.0));
    let positives = scores.iter().filter(|(_, positive)| *positive).count() as f64;
    let negatives = scores.len() as f64 - positives;
    let (mut ranks, mut before) = (0.0, 0);
    for equal in scores.chunk_by(|one, other| one.0 == other.0) {
        // Equal scores share the mean of their ranks, which are from 1.
        let rank = before as f64 + (equal.len() + 1) as f64 / 2.0;
        ranks += rank * equal.iter().filter(|(_, positive)| *positive).count() as f64;
        before += equal.len();
    }
    let pairs = positives * negatives;
    (pairs > 0.0).then(|| (ranks - positives * (positives + 1.0) / 2.0) / pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 24 examples of six classes, of which the last never occurs; probabilities in 64ths.
    const LABELS: [u32; 24] =
        [0, 1, 2, 1, 0, 4, 4, 2, 0, 0, 1, 2, 3, 2, 1, 0, 3, 3, 0, 0, 2, 1, 4, 2];
    #[rustfmt::skip]
    const SIXTY_FOURTHS: [[u8; 6]; 24] = [
        [11, 7, 5, 9, 21, 11], [13, 13, 5, 22, 8, 3], [3, 7, 38, 3, 3, 10], [2, 21, 14, 10, 6, 11],
        [3, 26, 3, 2, 12, 18], [2, 1, 4, 4, 45, 8], [9, 20, 6, 3, 13, 13], [8, 5, 14, 1, 20, 16],
        [6, 15, 5, 30, 2, 6], [43, 12, 0, 2, 5, 2], [26, 3, 7, 2, 21, 5], [2, 0, 45, 5, 5, 7],
        [12, 4, 4, 9, 33, 2], [6, 8, 25, 20, 3, 2], [3, 44, 7, 4, 2, 4], [12, 18, 4, 9, 7, 14],
        [3, 28, 10, 21, 0, 2], [2, 5, 0, 47, 9, 1], [5, 2, 5, 9, 39, 4], [27, 3, 16, 6, 11, 1],
        [3, 2, 47, 7, 3, 2], [6, 3, 1, 6, 45, 3], [4, 2, 2, 11, 38, 7], [8, 6, 39, 1, 4, 6],
    ];

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
    }

    /// Against scikit-learn 1.9 (`confusion_matrix`, `precision_recall_fscore_support`, `f1_score(average="macro")`,
    /// `top_k_accuracy_score`); the calibration error against its definition in NumPy.
    #[test]
    fn class_scores_are_those_of_scikit_learn() {
        let probabilities: Vec<f32> =
            SIXTY_FOURTHS.iter().flatten().map(|&p| f32::from(p) / 64.0).collect();
        let scores = ClassScores::new(&probabilities, &LABELS, 6).unwrap();
        let confusion = [
            [2, 2, 0, 1, 2, 0],
            [1, 2, 0, 1, 1, 0],
            [0, 0, 5, 0, 1, 0],
            [0, 1, 0, 1, 1, 0],
            [0, 1, 0, 0, 2, 0],
            [0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(scores.confusion, confusion);
        let precision = [2.0 / 3.0, 1.0 / 3.0, 1.0, 1.0 / 3.0, 2.0 / 7.0, 0.0];
        let recall = [2.0 / 7.0, 0.4, 5.0 / 6.0, 1.0 / 3.0, 2.0 / 3.0, 0.0];
        let f1 = [0.4, 0.363_636_363_636_363_65, 0.909_090_909_090_909_1, 1.0 / 3.0, 0.4, 0.0];
        for (class, score) in scores.classes.iter().enumerate() {
            close(score.precision, precision[class]);
            close(score.recall, recall[class]);
            close(score.f1, f1[class]);
        }
        let counts: Vec<usize> = scores.classes.iter().map(|score| score.examples).collect();
        assert_eq!(counts, [7, 5, 6, 3, 3, 0]);
        close(scores.classes[1].error.unwrap(), 60.0);
        assert_eq!(scores.classes[5].error, None);
        close(scores.error, 50.0);
        close(scores.f1, 0.481_212_121_212_121_26);
        close(scores.calibration_error, 0.190_755_208_333_333_34);
        assert_eq!((scores.top5_error, scores.auc), (Some(0.0), None));
    }

    #[test]
    fn the_sixth_guess_is_too_late() {
        let row = [0.3, 0.25, 0.2, 0.1, 0.1, 0.05];
        let scores = ClassScores::new(&row.repeat(4), &[0, 3, 4, 5], 6).unwrap();
        assert_eq!(scores.top5_error, Some(25.0));
    }

    /// Against `roc_auc_score` of scikit-learn 1.9, with equal scores.
    #[test]
    fn the_area_under_the_curve_is_that_of_scikit_learn() {
        let labels = [0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1];
        let scores = [7, 13, 9, 10, 9, 8, 10, 6, 0, 12, 17, 14, 8, 11, 5, 15, 7, 17, 17, 18];
        let of = |&score: &u8| [1.0 - f32::from(score) / 32.0, f32::from(score) / 32.0];
        let probabilities: Vec<f32> = scores.iter().flat_map(of).collect();
        close(
            ClassScores::new(&probabilities, &labels, 2).unwrap().auc.unwrap(),
            0.939_393_939_393_939_4,
        );
        assert_eq!(ClassScores::new(&[0.5, 0.5], &[1], 2).unwrap().auc, None);
    }

    /// Against `mean_squared_error`, `mean_absolute_error` and `r2_score` of scikit-learn 1.9.
    #[test]
    fn value_scores_are_those_of_scikit_learn() {
        #[rustfmt::skip]
        let values = [
            -0.25, -1.75, 0.75, -1.0, -0.25, 0.0, -0.25, -0.5, -1.75, -0.5, -4.25, -0.25, -2.5, 2.25, 2.5, -4.0, 0.25,
            -0.25, -2.0, 1.0,
        ];
        #[rustfmt::skip]
        let predicted = [
            -0.5, -2.625, 0.625, -1.125, -0.25, -0.625, 0.0, -0.125, -2.375, -0.875, -4.25, -0.5, -1.625, 2.375, 2.0,
            -4.375, 0.25, 0.875, -2.125, 1.125,
        ];
        let scores = ValueScore::of(&predicted, &values, 2).unwrap();
        for (score, [mse, mae, r2]) in scores.iter().zip([
            [0.15625, 0.275, 0.951_821_160_146_463_7],
            [0.295_312_5, 0.4375, 0.878_221_649_484_536_1],
        ]) {
            close(score.mse, mse);
            close(score.mae, mae);
            close(score.r2.unwrap(), r2);
        }
        assert_eq!(ValueScore::of(&[1.0, 2.0], &[3.0, 3.0], 1).unwrap()[0].r2, None);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let message = |result: Result<ClassScores, TrainError>| result.unwrap_err().to_string();
        let expected = "3 probabilities, expected 2 for each of 2 examples, and at least one";
        assert_eq!(message(ClassScores::new(&[0.5; 3], &[0, 1], 2)), expected);
        let expected = "0 probabilities, expected 2 for each of 0 examples, and at least one";
        assert_eq!(message(ClassScores::new(&[], &[], 2)), expected);
        assert_eq!(
            message(ClassScores::new(&[0.5; 4], &[0, 2], 2)),
            "example 1 has label 2, expected below 2"
        );
        let error = ValueScore::of(&[1.0], &[1.0, 2.0], 1).unwrap_err().to_string();
        assert_eq!(error, "1 predictions, expected 1 for each of 2 examples, and at least one");
        assert!(ValueScore::of(&[], &[], 0).is_err());
    }
}
