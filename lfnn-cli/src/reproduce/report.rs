//! What a target leaves: tables, figures and text, as CSV, JSON, SVG, PNG and one HTML page that needs
//! nothing else.

use std::path::Path;

use serde_json::{Value, json};

use crate::chart::{Figure, Panel, Point, escape};
use crate::files::write_whole;
use crate::format::{self, Align};

/// A report.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The name of the target.
    pub(super) name: &'static str,
    /// What was repeated.
    pub(super) title: &'static str,
    /// Paragraphs: what was done, and what to know when reading the results.
    pub(super) text: Vec<String>,
    pub(super) tables: Vec<Table>,
    /// Each with the name of its files and a caption.
    pub(super) figures: Vec<(String, String, Figure)>,
    /// Whether what it shows was found to be so; else what was not.
    pub(super) faults: Vec<String>,
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The name of its file.
    pub(super) name: String,
    pub(super) caption: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A cell: a number is whole in the files and rounded on the page.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Text(String),
    Number(f64, usize),
    Empty,
}

impl Cell {
    /// A number with two digits after the point, where there is one.
    pub(super) fn maybe(value: Option<f64>) -> Self {
        value.map_or(Cell::Empty, |value| Cell::Number(value, 2))
    }

    /// A mean and its standard deviation, where there are such.
    pub(super) fn stat(stat: Option<Stat>) -> [Self; 2] {
        [Self::maybe(stat.map(|stat| stat.mean)), Self::maybe(stat.and_then(|s| s.deviation))]
    }

    /// A whole number.
    pub(super) fn count(value: usize) -> Self {
        Cell::Number(value as f64, 0)
    }

    fn rounded(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Number(value, 0) if *value >= 1000.0 => format::count(*value as usize),
            Cell::Number(value, digits) => format!("{value:.digits$}"),
            Cell::Empty => "–".into(),
        }
    }

    fn csv(&self) -> String {
        match self {
            Cell::Text(text) if text.contains([',', '"', '\n']) => {
                format!("\"{}\"", text.replace('"', "\"\""))
            }
            Cell::Text(text) => text.clone(),
            Cell::Number(value, _) => value.to_string(),
            Cell::Empty => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Number(value, _) => json!(value),
            Cell::Empty => Value::Null,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::Text(text.into())
    }
}

impl Table {
    /// A table without rows yet; `|` separates the names of the columns in its head.
    pub(super) fn new(name: &str, caption: &str, head: &str) -> Self {
        let head = head.split('|').map(str::to_owned).collect();
        Self { name: name.into(), caption: caption.into(), head, rows: Vec::new() }
    }

    fn csv(&self) -> String {
        let head: Vec<Cell> = self.head.iter().map(|name| Cell::Text(name.clone())).collect();
        let line = |row: &Vec<Cell>| row.iter().map(Cell::csv).collect::<Vec<_>>().join(",") + "\n";
        std::iter::once(&head).chain(&self.rows).map(line).collect()
    }

    fn json(&self) -> Value {
        let row = |row: &Vec<Cell>| row.iter().map(Cell::json).collect::<Value>();
        let rows: Value = self.rows.iter().map(row).collect();
        json!({"name": self.name, "caption": self.caption, "columns": self.head, "rows": rows})
    }

    /// Whether a column holds text, and not numbers alone.
    fn is_text(&self, column: usize) -> bool {
        self.rows.iter().any(|row| matches!(row.get(column), Some(Cell::Text(_))))
    }

    /// The table for a terminal.
    pub(super) fn text(&self) -> String {
        let align = |column| if self.is_text(column) { Align::Left } else { Align::Right };
        let align: Vec<Align> = (0..self.head.len()).map(align).collect();
        let mut rows = vec![self.head.clone()];
        rows.extend(self.rows.iter().map(|row| row.iter().map(Cell::rounded).collect()));
        format::table(&align, &rows)
    }

    /// Whether it is too long to be read at a glance.
    pub(super) fn is_long(&self) -> bool {
        self.rows.len() > 40
    }

    fn html(&self) -> String {
        let class = |is_text: bool| if is_text { "" } else { " class=\"n\"" };
        let mut text = format!(
            "<table id=\"{}\">\n<caption>{}</caption>\n<thead><tr>",
            escape(&self.name),
            escape(&self.caption)
        );
        for (column, name) in self.head.iter().enumerate() {
            let class = class(self.is_text(column));
            text += &format!("<th{class}>{}</th>", escape(name));
        }
        text += "</tr></thead>\n<tbody>\n";
        for row in &self.rows {
            text += "<tr>";
            for cell in row {
                let class = class(matches!(cell, Cell::Text(_)));
                text += &format!("<td{class}>{}</td>", escape(&cell.rounded()));
            }
            text += "</tr>\n";
        }
        text + "</tbody>\n</table>\n"
    }
}

/// What was run, for the end of the page and for `results.json`.
#[derive(Debug)]
pub(super) struct Provenance {
    /// The command that makes it.
    pub(super) command: String,
    pub(super) scale: String,
    pub(super) seeds: Vec<u64>,
    pub(super) backend: String,
    /// The tasks: name, what came out, and the whole as JSON.
    pub(super) tasks: Vec<(String, String, Value)>,
    /// Configurations, each with a name of a task that has it.
    pub(super) configurations: Vec<(String, String)>,
}

impl Report {
    /// Adds a figure with the name of its files, a caption, a title, and so many panels in a row.
    pub(super) fn figure(
        &mut self,
        name: &str,
        caption: &str,
        title: &str,
        columns: usize,
        panels: Vec<Panel>,
    ) {
        let figure = Figure { title: title.into(), panels, columns };
        self.figures.push((name.into(), caption.into(), figure));
    }

    /// Writes everything into a folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(super) fn write(&self, folder: &Path, provenance: &Provenance) -> anyhow::Result<()> {
        let write = |name: &str, text: String| write_whole(&folder.join(name), text.as_bytes());
        for table in &self.tables {
            write(&format!("{}.csv", table.name), table.csv())?;
        }
        for (name, _, figure) in &self.figures {
            figure.write(folder, name)?;
        }
        let task =
            |(id, _, result): &(String, String, Value)| json!({"task": id, "result": result});
        let results = json!({
            "title": self.title,
            "command": provenance.command,
            "version": env!("CARGO_PKG_VERSION"),
            "scale": provenance.scale,
            "seeds": provenance.seeds,
            "backend": provenance.backend,
            "faults": self.faults,
            "tables": self.tables.iter().map(Table::json).collect::<Value>(),
            "tasks": provenance.tasks.iter().map(task).collect::<Value>(),
        });
        write("results.json", serde_json::to_string_pretty(&results)? + "\n")?;
        write("report.html", self.html(provenance))
    }

    fn html(&self, provenance: &Provenance) -> String {
        let mut body = format!("<h1>{}</h1>\n", escape(self.title));
        for fault in &self.faults {
            body += &format!("<p class=\"fault\">{}</p>\n", escape(fault));
        }
        for text in &self.text {
            body += &format!("<p>{}</p>\n", escape(text));
        }
        for table in &self.tables {
            body += &match table.is_long() {
                true => details(&escape(&table.caption), &table.html()),
                false => table.html(),
            };
        }
        for (name, caption, figure) in &self.figures {
            body += &format!(
                "<figure id=\"{}\">\n{}<figcaption>{}</figcaption>\n</figure>\n",
                escape(name),
                figure.svg(),
                escape(caption)
            );
        }
        body += "<h2>How it was made</h2>\n<dl>\n";
        let seeds: Vec<String> = provenance.seeds.iter().map(u64::to_string).collect();
        for (what, is) in [
            ("Command", &provenance.command),
            ("Program", &format!("lfnn-cli {}", env!("CARGO_PKG_VERSION"))),
            ("Backend", &provenance.backend),
            ("Scale", &provenance.scale),
            ("Seeds", &seeds.join(", ")),
        ] {
            body += &format!("<dt>{what}</dt><dd><code>{}</code></dd>\n", escape(is));
        }
        let row = |(id, result, _): &(String, String, Value)| {
            format!("<tr><td>{}</td><td>{}</td></tr>\n", escape(id), escape(result))
        };
        let rows: String = provenance.tasks.iter().map(row).collect();
        body += "</dl>\n";
        body += &details("Trainings and computations", &format!("<table>\n{rows}</table>\n"));
        for (id, yaml) in &provenance.configurations {
            let name = format!("Configuration of {}", escape(id));
            body += &details(&name, &format!("<pre>{}</pre>\n", escape(yaml)));
        }
        let title = escape(self.title);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
        )
    }
}

/// HTML that is shown on request.
fn details(summary: &str, html: &str) -> String {
    format!("<details><summary>{summary}</summary>\n{html}</details>\n")
}

const STYLE: &str = "\
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.15rem; margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1.5rem 0; font-size: 0.92rem; display: block; overflow-x: auto; }
caption { text-align: left; padding-bottom: 0.4rem; color: #444; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: bottom; }
th { border-bottom: 2px solid #222; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 2rem 0; }
figure svg { max-width: 100%; height: auto; }
figcaption { color: #444; font-size: 0.92rem; }
dt { font-weight: bold; }
dd { margin: 0 0 0.5rem 0; }
code, pre { font-size: 0.88rem; }
pre { background: #f5f5f5; padding: 0.7rem; overflow-x: auto; }
.fault { border-left: 4px solid #b00; padding-left: 0.8rem; color: #b00; }
@media print { details { display: none; } body { margin: 0; } }
";

/// Mean, standard deviation and number of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stat {
    pub(super) mean: f64,
    /// Of the sample; none of one value.
    pub(super) deviation: Option<f64>,
}

impl Stat {
    /// None of no values.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / count)?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Some(Self { mean, deviation })
    }

    /// The mean, and the deviation or 0: height and error bar of a bar.
    pub(super) fn bar(self) -> (f64, f64) {
        (self.mean, self.deviation.unwrap_or(0.0))
    }

    /// The mean with an error bar, at a place of the horizontal axis.
    pub(super) fn point(self, x: f64) -> Point {
        Point { x, y: self.mean, spread: self.bar().1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_of_a_sample() {
        let stat = Stat::of(&[1.0, 2.0, 6.0]).unwrap();
        assert_eq!(stat.mean, 3.0);
        assert!((stat.deviation.unwrap() - 7f64.sqrt()).abs() < 1e-12);
        assert_eq!(Stat::of(&[4.0]), Some(Stat { mean: 4.0, deviation: None }));
        assert_eq!(Stat::of(&[]), None);
    }

    #[test]
    fn tables_are_written_whole_in_files_and_rounded_on_the_page() {
        let mut table = Table::new("t", "a < b", "name|value");
        table.rows.push(vec!["a, \"b\"".into(), Cell::Number(1.23456, 2)]);
        table.rows.push(vec!["<c>".into(), Cell::Empty]);
        assert_eq!(table.csv(), "name,value\n\"a, \"\"b\"\"\",1.23456\n<c>,\n");
        assert!(table.html().contains("<td>&lt;c&gt;</td><td class=\"n\">–</td>"));
        assert!(table.html().contains("<td class=\"n\">1.23</td>"));
        assert_eq!(table.text(), "name    value\na, \"b\"   1.23\n<c>         –\n");
    }
}
