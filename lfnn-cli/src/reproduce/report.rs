//! What a target leaves: tables, figures and text, as CSV, JSON, SVG, PNG and one HTML page that needs
//! nothing else.

use std::path::Path;

use serde_json::{Value, json};

use crate::chart::{Figure, Panel, escape};
use crate::files::write_whole;
use crate::format;
use crate::page::{Page, Table, anchors};
use crate::run::Origin;

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

/// What was run, for the end of the page and for `results.json`.
#[derive(Debug)]
pub(super) struct Provenance {
    /// Command without what does not change the result.
    pub(super) command: String,
    /// When and on which machine the report was made.
    pub(super) made: Origin,
    pub(super) scale: String,
    pub(super) seeds: Vec<u64>,
    pub(super) backend: String,
    pub(super) tasks: Vec<TaskRecord>,
    /// Configurations, each with a name of a task that has it.
    pub(super) configurations: Vec<(String, String)>,
}

/// A training or computation.
#[derive(Debug)]
pub(super) struct TaskRecord {
    pub(super) id: String,
    /// What came out, in a few words.
    pub(super) text: String,
    /// The whole of it.
    pub(super) result: Value,
    /// Its files: names, and addresses relative to the report.
    pub(super) files: Vec<(String, String)>,
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
        let task = |task: &TaskRecord| json!({"task": task.id, "result": task.result});
        let results = json!({
            "title": self.title,
            "command": provenance.command,
            "date": provenance.made.date,
            "machine": provenance.made.machine,
            "version": provenance.made.version,
            "scale": provenance.scale,
            "seeds": provenance.seeds,
            "backend": provenance.backend,
            "faults": self.faults,
            "tables": self.tables.iter().map(Table::json).collect::<Value>(),
            "tasks": provenance.tasks.iter().map(task).collect::<Value>(),
        });
        write("results.json", serde_json::to_string_pretty(&results)? + "\n")?;
        write("report.html", self.page(provenance))
    }

    fn page(&self, provenance: &Provenance) -> String {
        let mut page = Page::new(self.title);
        let seeds: Vec<String> = provenance.seeds.iter().map(u64::to_string).collect();
        let made = &provenance.made;
        page.facts(&[
            ("Command", &provenance.command),
            ("Date", &made.date),
            ("Program", &made.program()),
            ("Machine", &made.machine),
            ("Backend", &provenance.backend),
            ("Scale", &provenance.scale),
            ("Seeds", &seeds.join(", ")),
        ]);
        let file = |name: String| (name.clone(), name);
        let tables = self.tables.iter().map(|table| file(format!("{}.csv", table.name)));
        page.links("Tables", &tables.chain([file("results.json".into())]).collect::<Vec<_>>());
        let figures = self.figures.iter();
        let figures =
            figures.flat_map(|(name, ..)| ["svg", "png"].map(|end| file(format!("{name}.{end}"))));
        page.links("Figures", &figures.collect::<Vec<_>>());
        self.faults.iter().for_each(|fault| page.fault(fault));
        self.text.iter().for_each(|text| page.paragraph(text));
        self.tables.iter().for_each(|table| page.table(table));
        for (name, caption, figure) in &self.figures {
            page.figure(name, caption, figure);
        }
        page.heading("tasks", "Trainings and computations");
        let row = |task: &TaskRecord| {
            let (id, text, links) = (escape(&task.id), escape(&task.text), anchors(&task.files));
            format!("<tr><td>{id}</td><td>{text}</td><td>{links}</td></tr>\n")
        };
        let rows: String = provenance.tasks.iter().map(row).collect();
        let count = format::number_of(provenance.tasks.len(), "task");
        page.details(&format!("{count} with files"), &format!("<table>\n{rows}</table>\n"));
        for (id, yaml) in &provenance.configurations {
            page.verbatim(&format!("Configuration of {id}"), yaml);
        }
        page.finish()
    }
}
