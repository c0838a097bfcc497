//! The answers of `predict` as text, JSON or CSV.

use std::path::PathBuf;

use lfnn_core::model::ModelTarget;
use lfnn_data::DataKind;
use serde_json::{Value, json};

use crate::failure::{Failure, Result, chain};
use crate::format::{Align, table};
use crate::output::{Level, Output};

/// How many classes are named with `-v`.
const TOP: usize = 5;

/// A file, and the predictions for its examples or why there are none.
pub(super) struct Answer {
    pub(super) file: PathBuf,
    pub(super) rows: Result<Vec<Vec<f32>>>,
}

/// All answers, and what they are about.
pub(super) struct Answers<'a> {
    pub(super) kind: DataKind,
    /// The name of a predicted class.
    pub(super) class: &'a str,
    pub(super) target: &'a ModelTarget,
    pub(super) answers: &'a [Answer],
}

impl Answers<'_> {
    /// Prints them: those of images as lines or a list of JSON, others as CSV or lines of JSON.
    ///
    /// # Errors
    /// A standard output that cannot be written.
    pub(super) fn print(&self, json: bool, output: &Output) -> Result {
        let Self { kind, class, target, answers } = *self;
        let images = kind == DataKind::Images;
        if json {
            let key = if images { "image" } else { "file" };
            let values = answers.iter().flat_map(|answer| to_json(answer, target, key));
            let text = if images {
                serde_json::to_string_pretty(&values.collect::<Vec<_>>())?
            } else {
                values.map(|value| value.to_string() + "\n").collect()
            };
            return output.result(&text);
        }
        if answers.iter().all(|answer| answer.rows.is_err()) {
            return Ok(());
        }
        match target {
            ModelTarget::Classes { names } if images => {
                let top = if output.level() > Level::Normal { TOP } else { 1 };
                output.result(&to_text(answers, names, top))
            }
            _ => output.result(&to_csv(answers, target, class)),
        }
    }
}

/// Indices of the classes, the most probable first.
fn ranked(probabilities: &[f32]) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..probabilities.len()).collect();
    ranked.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    ranked
}

/// An object for each example; `key` names its file.
fn to_json(Answer { file, rows }: &Answer, target: &ModelTarget, key: &str) -> Vec<Value> {
    let file = file.display().to_string();
    let rows = match rows {
        Ok(rows) => rows,
        Err(Failure::Usage(error) | Failure::Runtime(error)) => {
            return vec![json!({ key: file, "error": chain(error.as_ref()) })];
        }
        Err(Failure::Interrupted) => return Vec::new(),
    };
    let object = |(number, row): (usize, &Vec<f32>)| {
        let mut value = match target {
            ModelTarget::Classes { names } => {
                // Names of classes need not differ, so the index tells which class is meant.
                let class = |index: usize| {
                    json!({
                        "index": index,
                        "class": names.get(index),
                        "probability": row.get(index),
                    })
                };
                let mut value = class(ranked(row).first().copied().unwrap_or_default());
                value["probabilities"] = (0..row.len()).map(class).collect();
                value
            }
            ModelTarget::Values { names, .. } => {
                let values = names.iter().cloned().zip(row.iter().map(|&value| json!(value)));
                json!({ "values": values.collect::<serde_json::Map<_, _>>() })
            }
        };
        value[key] = file.clone().into();
        if key == "file" {
            value["row"] = number.into();
        }
        value
    };
    (1..).zip(rows).map(object).collect()
}

fn to_text(answers: &[Answer], classes: &[String], top: usize) -> String {
    let name = |index: usize| {
        let name = classes.get(index).map_or("", String::as_str);
        let ambiguous = classes.iter().filter(|other| *other == name).count() > 1;
        if ambiguous { format!("{name} ({index})") } else { name.to_owned() }
    };
    let mut lines = Vec::new();
    for Answer { file, rows } in answers {
        for probabilities in rows.iter().flatten() {
            for &index in ranked(probabilities).iter().take(top) {
                let percent = format!("{:.1} %", 100.0 * probabilities[index]);
                lines.push(vec![file.display().to_string(), name(index), percent]);
            }
        }
    }
    table(&[Align::Left, Align::Left, Align::Right], &lines)
}

/// A line for each example, in the order of the files; with several files, the first column names it.
fn to_csv(answers: &[Answer], target: &ModelTarget, class: &str) -> String {
    let several = answers.len() > 1;
    let mut head: Vec<String> = if several { vec!["file".into()] } else { Vec::new() };
    match target {
        ModelTarget::Classes { names } => {
            head.extend([class.to_owned(), "probability".to_owned()]);
            head.extend(names.iter().map(|name| format!("p_{name}")));
        }
        ModelTarget::Values { names, .. } => head.extend(names.iter().cloned()),
    }
    let mut text = csv_line(&head);
    for Answer { file, rows } in answers {
        for row in rows.iter().flatten() {
            let mut cells = if several { vec![file.display().to_string()] } else { Vec::new() };
            if let ModelTarget::Classes { names } = target {
                let best = ranked(row).first().copied().unwrap_or_default();
                cells.extend([names[best].clone(), row[best].to_string()]);
            }
            cells.extend(row.iter().map(f32::to_string));
            text += &csv_line(&cells);
        }
    }
    text
}

/// Cells as a line of CSV, in quotes where they hold a separator.
fn csv_line(cells: &[String]) -> String {
    let quoted = |cell: &String| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    };
    cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}
