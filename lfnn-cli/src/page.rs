//! Pages: tables, figures and facts as one HTML file that needs nothing else, neither scripts nor a network.

use std::io;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::chart::{Figure, Stat, escape};
use crate::format::{self, Align};

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// The name of its file.
    pub(crate) name: String,
    pub(crate) caption: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A cell: a number is whole in the files and rounded on the page.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    Number(f64, usize),
    Empty,
}

impl Cell {
    /// A number with two digits after the point, where there is one.
    pub(crate) fn maybe(value: Option<f64>) -> Self {
        value.map_or(Cell::Empty, |value| Cell::Number(value, 2))
    }

    /// A mean and its standard deviation, where there are such.
    pub(crate) fn stat(stat: Option<Stat>) -> [Self; 2] {
        [Self::maybe(stat.map(|stat| stat.mean)), Self::maybe(stat.and_then(|s| s.deviation))]
    }

    /// A whole number.
    pub(crate) fn count(value: usize) -> Self {
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
    pub(crate) fn new(name: &str, caption: &str, head: &str) -> Self {
        let head = head.split('|').map(str::to_owned).collect();
        Self { name: name.into(), caption: caption.into(), head, rows: Vec::new() }
    }

    /// The table as a file of comma-separated values, with every column.
    pub(crate) fn csv(&self) -> String {
        let head: Vec<Cell> = self.head.iter().map(|name| Cell::Text(name.clone())).collect();
        let line = |row: &Vec<Cell>| row.iter().map(Cell::csv).collect::<Vec<_>>().join(",") + "\n";
        std::iter::once(&head).chain(&self.rows).map(line).collect()
    }

    /// The table as JSON: `name`, `caption`, `columns` and `rows`.
    pub(crate) fn json(&self) -> Value {
        let row = |row: &Vec<Cell>| row.iter().map(Cell::json).collect::<Value>();
        let rows: Value = self.rows.iter().map(row).collect();
        json!({"name": self.name, "caption": self.caption, "columns": self.head, "rows": rows})
    }

    /// Whether a column holds text, and not numbers alone.
    fn is_text(&self, column: usize) -> bool {
        self.rows.iter().any(|row| matches!(row.get(column), Some(Cell::Text(_))))
    }

    /// The columns in which some row has something; people see no others.
    fn columns(&self) -> Vec<usize> {
        let has =
            |row: &Vec<Cell>, column| row.get(column).is_some_and(|cell| *cell != Cell::Empty);
        let is_used = |&column: &usize| self.rows.iter().any(|row| has(row, column));
        (0..self.head.len()).filter(is_used).collect()
    }

    /// The table for a terminal.
    pub(crate) fn text(&self) -> String {
        let columns = self.columns();
        let align = |&column| if self.is_text(column) { Align::Left } else { Align::Right };
        let align: Vec<Align> = columns.iter().map(align).collect();
        let mut rows = vec![columns.iter().map(|&column| self.head[column].clone()).collect()];
        rows.extend(self.rows.iter().map(|row| {
            columns
                .iter()
                .map(|&column| row.get(column).map_or("–".into(), Cell::rounded))
                .collect()
        }));
        format::table(&align, &rows)
    }

    /// Whether it is too long to be read at a glance.
    pub(crate) fn is_long(&self) -> bool {
        self.rows.len() > 40
    }

    fn html(&self) -> String {
        let class = |is_text: bool| if is_text { "" } else { " class=\"n\"" };
        let mut text = format!(
            "<table id=\"{}\">\n<caption>{}</caption>\n<thead><tr>",
            escape(&self.name),
            escape(&self.caption)
        );
        let columns = self.columns();
        for &column in &columns {
            let class = class(self.is_text(column));
            text += &format!("<th{class}>{}</th>", escape(&self.head[column]));
        }
        text += "</tr></thead>\n<tbody>\n";
        for row in &self.rows {
            text += "<tr>";
            for cell in columns.iter().map(|&column| row.get(column).unwrap_or(&Cell::Empty)) {
                let class = class(matches!(cell, Cell::Text(_)));
                text += &format!("<td{class}>{}</td>", escape(&cell.rounded()));
            }
            text += "</tr>\n";
        }
        text + "</tbody>\n</table>\n"
    }
}

/// A picture with a caption.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// The bytes of a PNG file.
    pub(crate) png: Vec<u8>,
    pub(crate) caption: String,
}

/// A page under way.
#[derive(Debug)]
pub(crate) struct Page {
    title: String,
    body: String,
}

impl Page {
    /// A page that begins with its title.
    pub(crate) fn new(title: &str) -> Self {
        let title = escape(title);
        Self { body: format!("<h1>{title}</h1>\n"), title }
    }

    /// Adds a heading of a part, with a name for links to it.
    pub(crate) fn heading(&mut self, id: &str, text: &str) {
        self.body += &format!("<h2 id=\"{}\">{}</h2>\n", escape(id), escape(text));
    }

    /// Adds a paragraph.
    pub(crate) fn paragraph(&mut self, text: &str) {
        self.body += &format!("<p>{}</p>\n", escape(text));
    }

    /// Adds a paragraph that says what is wrong.
    pub(crate) fn fault(&mut self, text: &str) {
        self.body += &format!("<p class=\"fault\">{}</p>\n", escape(text));
    }

    /// Adds facts: what each is, and its value. One without a value is left out.
    pub(crate) fn facts(&mut self, facts: &[(&str, &str)]) {
        self.body += "<dl>\n";
        for (what, is) in facts.iter().filter(|(_, is)| !is.is_empty()) {
            self.body += &format!("<dt>{}</dt><dd>{}</dd>\n", escape(what), escape(is));
        }
        self.body += "</dl>\n";
    }

    /// Adds links to files, each with its name and its address.
    pub(crate) fn links(&mut self, what: &str, links: &[(String, String)]) {
        if !links.is_empty() {
            self.body += &format!("<p>{}: {}</p>\n", escape(what), anchors(links));
        }
    }

    /// Adds a table; a long one is shown on request.
    pub(crate) fn table(&mut self, table: &Table) {
        match table.is_long() {
            true => self.details(&table.caption, &table.html()),
            false => self.body += &table.html(),
        }
    }

    /// Adds a figure with a caption.
    pub(crate) fn figure(&mut self, id: &str, caption: &str, figure: &Figure) {
        self.body += &format!(
            "<figure id=\"{}\">\n{}<figcaption>{}</figcaption>\n</figure>\n",
            escape(id),
            figure.svg(),
            escape(caption)
        );
    }

    /// Adds pictures beside one another, as part of the page.
    pub(crate) fn pictures(&mut self, id: &str, caption: &str, pictures: &[Picture]) {
        self.body += &format!("<figure id=\"{}\" class=\"pictures\">\n", escape(id));
        for Picture { png, caption } in pictures {
            let (data, caption) = (BASE64_STANDARD.encode(png), escape(caption));
            self.body += &format!(
                "<figure><img alt=\"\" src=\"data:image/png;base64,{data}\">\
                 <figcaption>{caption}</figcaption></figure>\n"
            );
        }
        self.body += &format!("<figcaption>{}</figcaption>\n</figure>\n", escape(caption));
    }

    /// Adds HTML that is shown on request.
    pub(crate) fn details(&mut self, summary: &str, html: &str) {
        let summary = escape(summary);
        self.body += &format!("<details><summary>{summary}</summary>\n{html}</details>\n");
    }

    /// Adds text that is shown on request as it is.
    pub(crate) fn verbatim(&mut self, summary: &str, text: &str) {
        self.details(summary, &format!("<pre>{}</pre>\n", escape(text)));
    }

    /// The whole document.
    pub(crate) fn finish(self) -> String {
        let Self { title, body } = self;
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
        )
    }
}

/// HTML of links beside one another, each with its name and its address.
pub(crate) fn anchors(links: &[(String, String)]) -> String {
    let anchor = |(name, address): &(String, String)| {
        format!("<a href=\"{}\">{}</a>", escape(address), escape(name))
    };
    links.iter().map(anchor).collect::<Vec<_>>().join(" · ")
}

/// The address of a file for a page in a folder: relative, so that both can be moved together. Both must be there.
///
/// # Errors
/// A path that is not there.
pub(crate) fn address(folder: &Path, file: &Path) -> io::Result<String> {
    let (folder, file) = (folder.canonicalize()?, file.canonicalize()?);
    let (mut from, mut to) = (folder.components().peekable(), file.components().peekable());
    while from.peek().is_some() && from.peek() == to.peek() {
        from.next();
        to.next();
    }
    let up = from.map(|_| "..".to_owned());
    let down = to.map(|part| encoded(&part.as_os_str().to_string_lossy()));
    Ok(up.chain(down).collect::<Vec<_>>().join("/"))
}

/// A part of an address: what is no letter, digit, dot, dash or underscore is written as its bytes.
fn encoded(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let write =
        |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    part.bytes().map(write).collect()
}

const STYLE: &str = "\
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.15rem; margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1.5rem 0; font-size: 0.92rem; display: block; overflow-x: auto; }
caption { text-align: left; padding-bottom: 0.4rem; color: #444; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: bottom; }
th { border-bottom: 2px solid #222; }
td:first-child { white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 2rem 0; }
figure svg { max-width: 100%; height: auto; }
figure figure { display: inline-block; width: 7.5rem; margin: 0 0.5rem 0.8rem 0; vertical-align: top; }
.pictures img { width: 6rem; image-rendering: pixelated; }
figcaption { color: #444; font-size: 0.92rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1rem; font-size: 0.92rem; }
dt { color: #444; }
dd { margin: 0; overflow-wrap: anywhere; }
a { color: #0050a0; }
code, pre { font-size: 0.88rem; }
pre { background: #f5f5f5; padding: 0.7rem; overflow-x: auto; }
.fault { border-left: 4px solid #b00; padding-left: 0.8rem; color: #b00; }
@media print { details { display: none; } body { margin: 0; } }
";

#[cfg(test)]
mod tests {
    use super::*;

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
    #[test]
    fn a_column_without_values_is_not_shown_but_is_in_the_file() {
        let mut table = Table::new("t", "", "a|b|c");
        table.rows.push(vec!["x".into(), Cell::Empty, Cell::count(3)]);
        assert_eq!(table.text(), "a  c\nx  3\n");
        assert!(!table.html().contains("<th class=\"n\">b</th>") && !table.html().contains('–'));
        assert_eq!(table.csv(), "a,b,c\nx,,3\n");
    }

    #[test]
    fn addresses_are_relative_to_the_page() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for folder in ["runs/a run #1", "pages"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        std::fs::write(path("runs/a run #1/metrics.csv"), "").unwrap();
        let address =
            |folder: &str, file: &str| super::address(&path(folder), &path(file)).unwrap();
        let file = "runs/a run #1/metrics.csv";
        assert_eq!(address("pages", file), "../runs/a%20run%20%231/metrics.csv");
        assert_eq!(address("runs/a run #1", file), "metrics.csv");
        assert_eq!(address("runs", file), "a%20run%20%231/metrics.csv");
    }
}
