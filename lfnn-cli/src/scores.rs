//! Scores of predictions as text of at most 80 columns.

use lfnn_core::score::{ClassScores, ValueScore};

use crate::format::{self, Align, table};

const WIDTH: usize = 80;
/// The longest name of a class that is shown whole.
const LONGEST_NAME: usize = 20;
/// How many confusions are listed where there are too many classes for a matrix.
const MOST_CONFUSIONS: usize = 10;

/// The scores of predicted numbers, each with its name, in the data's own units.
pub(crate) fn of_values<'a>(
    part: &str,
    scores: impl Iterator<Item = (&'a String, &'a ValueScore)>,
) -> String {
    let head = [part, "R²", "mean squared error", "mean absolute error"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for (name, ValueScore { mse, mae, r2 }) in scores {
        let r2 = r2.map_or_else(|| "–".to_owned(), |r2| format!("{r2:.4}"));
        lines.push(vec![short(name), r2, format::significant(*mse), format::significant(*mae)]);
    }
    table(&[Align::Left, Align::Right, Align::Right, Align::Right], &lines)
}

/// The scores of predicted classes with these names.
pub(crate) fn of_classes(names: &[String], scores: &ClassScores) -> String {
    let mut sums = vec![format!("F1 {:.4} (mean of the classes)", scores.f1)];
    sums.extend(scores.auc.map(|auc| format!("AUC {auc:.4} (of {})", short(&names[1]))));
    sums.extend(scores.top5_error.map(|error| format!("top-5 error {error:.2} %")));
    sums.push(format!("calibration error {:.4}", scores.calibration_error));
    let head = ["class", "examples", "error", "precision", "recall", "F1"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for (name, score) in names.iter().zip(&scores.classes) {
        let mut line =
            vec![short(name), format::count(score.examples), format::percent(score.error)];
        line.extend([score.precision, score.recall, score.f1].map(|share| format!("{share:.4}")));
        lines.push(line);
    }
    let mut align = [Align::Right; 6];
    align[0] = Align::Left;
    let classes = table(&align, &lines);
    format!("{}\n\n{classes}\n{}", sums.join(", "), confusion(names, &scores.confusion))
}

/// The confusion matrix or, where it is too wide, the most frequent confusions.
fn confusion(names: &[String], counts: &[Vec<usize>]) -> String {
    let numbers: Vec<String> = (1..=names.len()).map(|number| number.to_string()).collect();
    let short_names: Vec<String> = names.iter().map(|name| short(name)).collect();
    let numbered = |(number, name): (&String, &String)| format!("{number} {name}");
    let numbered: Vec<String> = numbers.iter().zip(&short_names).map(numbered).collect();
    for (rows, columns) in [(&short_names, &short_names), (&numbered, &numbers)] {
        let head = std::iter::once(String::new()).chain(columns.iter().cloned()).collect();
        let line = |(name, counts): (&String, &Vec<usize>)| -> Vec<String> {
            std::iter::once(name.clone()).chain(counts.iter().map(|&n| format::count(n))).collect()
        };
        let lines: Vec<Vec<String>> =
            std::iter::once(head).chain(rows.iter().zip(counts).map(line)).collect();
        let mut align = vec![Align::Right; names.len() + 1];
        align[0] = Align::Left;
        let matrix = table(&align, &lines);
        if matrix.lines().all(|line| line.chars().count() <= WIDTH) {
            return format!(
                "examples of each class (row) by the predicted class (column)\n{matrix}"
            );
        }
    }
    let mut lines = vec![["class", "predicted", "examples"].map(str::to_owned).to_vec()];
    for (count, class, predicted) in confusions(counts).into_iter().take(MOST_CONFUSIONS) {
        lines.push(vec![short(&names[class]), short(&names[predicted]), format::count(count)]);
    }
    let list = table(&[Align::Left, Align::Left, Align::Right], &lines);
    format!("the most frequent confusions (--json prints the whole matrix)\n{list}")
}

/// Examples, their class and the other class that was predicted, the most frequent first.
pub(crate) fn confusions(counts: &[Vec<usize>]) -> Vec<(usize, usize, usize)> {
    let mut confusions: Vec<(usize, usize, usize)> = Vec::new();
    for (class, row) in counts.iter().enumerate() {
        let wrong =
            row.iter().enumerate().filter(|&(predicted, &count)| predicted != class && count > 0);
        confusions.extend(wrong.map(|(predicted, &count)| (count, class, predicted)));
    }
    confusions.sort_by_key(|&(count, ..)| std::cmp::Reverse(count));
    confusions
}

/// A name that fits a column.
fn short(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    name.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(names: &[&str], labels: &[u32]) -> (Vec<String>, ClassScores) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        // The first class is always predicted.
        let row: Vec<f32> =
            (0..names.len()).map(|class| if class == 0 { 1.0 } else { 0.0 }).collect();
        let scores = ClassScores::new(&row.repeat(labels.len()), labels, names.len()).unwrap();
        (names, scores)
    }

    #[test]
    fn a_small_matrix_is_shown_whole() {
        let (names, scores) = scores(&["cat", "dog"], &[0, 0, 1]);
        let text = of_classes(&names, &scores);
        assert_eq!(
            text,
            "F1 0.4000 (mean of the classes), AUC 0.5000 (of dog), calibration error 0.3333

class  examples     error  precision  recall      F1
cat           2    0.00 %     0.6667  1.0000  0.8000
dog           1  100.00 %     0.0000  0.0000  0.0000

examples of each class (row) by the predicted class (column)
     cat  dog
cat    2    0
dog    1    0
"
        );
    }

    #[test]
    fn a_wide_matrix_becomes_a_list_and_no_line_is_too_long() {
        let names: Vec<String> =
            (0..60).map(|class| format!("a class with a very long name, {class}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let labels: Vec<u32> = (0..60).chain([7, 7]).collect();
        let (names, scores) = scores(&names, &labels);
        let text = of_classes(&names, &scores);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains("a class with a very…  a class with a very…         3\n"), "{text}");
        assert!(text.contains("top-5 error "), "{text}");
    }
}
