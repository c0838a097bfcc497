//! `report`: one page of a run or of several.

mod predictions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::backend::BackendArgs;
use crate::chart::Stat;
use crate::checkpoint;
use crate::cli::{HorizontalAxis, ReportArgs};
use crate::ensemble::EnsembleArgs;
use crate::evaluation::{Evaluation, Wanted};
use crate::failure::Result;
use crate::figures::{self, SeedGroup};
use crate::files::{create_folder, parent, write_whole};
use crate::format;
use crate::output::Output;
use crate::page::{Cell, Page, Table, address};
use crate::run::{EpochRow, Origin, R2, RecordedRun};

/// The page's name where none is given.
const NAME: &str = "report.html";
/// The files of a run to which its part of the page links.
const FILES: [&str; 5] =
    ["metrics.csv", "metrics.jsonl", "summary.json", "steps.jsonl", "config.yaml"];

/// Runs the command.
///
/// # Errors
/// A folder without a run's metrics, or a file that cannot be written.
pub(crate) fn command(args: &ReportArgs, backend: BackendArgs, output: &Output) -> Result {
    let runs = RecordedRun::read_all(&args.runs)?;
    let wanted = Wanted {
        data: &args.data,
        path: args.path.as_deref(),
        split: None,
        ensemble: EnsembleArgs::default(),
        scores: true,
    };
    let evaluate = |run: &RecordedRun| {
        Evaluation::of(&checkpoint::locate(&run.folder)?, wanted, backend, output)
    };
    let path = args.out.clone().unwrap_or_else(|| match &args.runs[..] {
        [run] => run.join(NAME),
        _ => PathBuf::from(NAME),
    });
    create_folder(parent(&path))?;
    let page = page(&runs, parent(&path), args.scores.then_some(&evaluate as _))?;
    write_whole(&path, page.as_bytes())?;
    output.result(&path.display().to_string())
}

/// Evaluates the network of a run.
type Evaluate<'a> = dyn Fn(&RecordedRun) -> Result<Evaluation> + 'a;

fn page(runs: &[RecordedRun], folder: &Path, evaluate: Option<&Evaluate<'_>>) -> Result<String> {
    let mut page = Page::new(&figures::title(runs));
    let made = Origin::now();
    match runs {
        [run] => describe(&mut page, run, folder),
        _ => page.facts(&[
            ("Command", &made.command),
            ("Date", &made.date),
            ("Program", &made.program()),
        ]),
    }
    if let [run] = runs {
        page.table(&results(&[SeedGroup { name: run.name.clone(), runs: vec![run] }]));
    } else {
        let groups = SeedGroup::of(runs);
        page.table(&results(&groups));
        if groups.iter().any(|group| group.runs.len() > 1) {
            page.table(&each_run(runs));
        }
    }
    let caption = match runs {
        [_] => {
            "Metrics of the network after each epoch; those of training are running means of the epoch."
        }
        _ => {
            "Metrics of the networks after each epoch; those of training are running means of the epoch. Runs \
              that differ only in their seeds are one line, their mean."
        }
    };
    page.figure("curves", caption, &figures::curves(runs, HorizontalAxis::Epoch));
    for (number, run) in (1..).zip(runs) {
        let id = |part: &str| format!("run{number}-{part}");
        if runs.len() > 1 {
            page.heading(&id("about"), &run.name);
            describe(&mut page, run, folder);
        }
        data_tables(run, id).iter().for_each(|table| page.table(table));
        if let Some(figure) = figures::leadership(std::slice::from_ref(run)) {
            let caption = "Share of the batches of an epoch in which each worker was a leader.";
            page.figure(&id("leadership"), caption, &figure);
        }
        if let Some(figure) = figures::workers(run) {
            let caption = "Workers as predictors, on the test data: their range, their mean and the best of them.";
            page.figure(&id("workers"), caption, &figure);
        }
        if let Some(table) = workers(run, &id("units")) {
            page.table(&table);
        }
        if let Some(evaluate) = evaluate {
            predictions::show(&mut page, id, &evaluate(run)?)?;
        }
        if let Some(yaml) = run.config.as_ref().and_then(|config| config.to_yaml().ok()) {
            page.verbatim(&format!("Configuration of {}", run.name), &yaml);
        }
    }
    Ok(page.finish())
}

/// What is known of a run, and links to its files.
fn describe(page: &mut Page, run: &RecordedRun, folder: &Path) {
    let (summary, origin) = (run.summary.as_ref(), run.origin.as_ref());
    let of_origin = |value: fn(&Origin) -> String| origin.map(value).unwrap_or_default();
    let program = match (origin, summary) {
        (Some(origin), _) => origin.program(),
        (None, Some(summary)) => format!("lfnn-cli {}", summary.version),
        (None, None) => String::new(),
    };
    let seed = run.config.as_ref().map(|config| config.seed.to_string()).unwrap_or_default();
    let backend =
        summary.map(|run| format!("{}, {}", run.backend, run.precision)).unwrap_or_default();
    let parameters = summary.map(|run| {
        let (all, heads) = (format::count(run.parameters), format::count(run.head_parameters));
        format!("{all}, and {heads} of heads")
    });
    let speed = summary.map(|run| {
        let memory = format::bytes(run.peak_memory_bytes as usize);
        format!("{:.0} examples/s, peak memory {memory}", run.images_per_second)
    });
    page.facts(&[
        ("Command", &of_origin(|origin| origin.command.clone())),
        ("Date", &of_origin(|origin| origin.date.clone())),
        ("Program", &program),
        ("Machine", &of_origin(|origin| origin.machine.clone())),
        ("Backend", &backend),
        ("Seed", &seed),
        ("Epochs", &epochs(run)),
        ("Parameters", &parameters.unwrap_or_default()),
        ("Speed", &speed.unwrap_or_default()),
    ]);
    let files = FILES.iter().filter_map(|name| {
        Some(((*name).to_owned(), address(folder, &run.folder.join(name)).ok()?))
    });
    page.links("Files", &files.collect::<Vec<_>>());
}

fn epochs(run: &RecordedRun) -> String {
    let last = run.rows.last().map_or(0, |row| row.epoch);
    let planned = run.config.as_ref().map(|config| config.training.epochs);
    match (&run.summary, planned) {
        (Some(summary), _) if summary.stopped_early => format!("{last}, stopped early"),
        (None, Some(planned)) => format!("{last} of {planned}, not finished"),
        _ => last.to_string(),
    }
}

/// The network's metrics after the last epoch, such as `test error`, in the order of their names.
fn last(run: &RecordedRun) -> BTreeMap<String, f64> {
    run.rows.last().map(EpochRow::network).unwrap_or_default()
}

fn metric_names<'a>(runs: impl Iterator<Item = &'a RecordedRun>) -> BTreeSet<String> {
    runs.flat_map(|run| last(run).into_keys()).collect()
}

/// A metric with digits that tell runs apart: percentages have two, losses four.
fn digits(name: &str) -> usize {
    if name.ends_with("error") || name.ends_with("percent") { 2 } else { 4 }
}

fn heads(first: &[&str], names: &BTreeSet<String>) -> String {
    let metric = |name: &String| {
        let unit = if digits(name) == 2 { ", %" } else { "" };
        format!("{}{unit}", name.replace(&format!("_{R2}"), " R²").replace('_', " "))
    };
    let names = names.iter().map(metric);
    first.iter().map(ToString::to_string).chain(names).collect::<Vec<_>>().join("|")
}

/// A row for each group: means and deviations over its runs.
fn results(groups: &[SeedGroup<'_>]) -> Table {
    let names = metric_names(groups.iter().flat_map(|group| group.runs.iter().copied()));
    let head = heads(&["run", "epochs"], &names);
    let mut table = Table::new("results", "After the last epoch", &head);
    for SeedGroup { name, runs } in groups {
        let mut row = vec![name.as_str().into()];
        let epochs: BTreeSet<usize> =
            runs.iter().filter_map(|run| Some(run.rows.last()?.epoch)).collect();
        let epochs = epochs.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        row.push(epochs.into());
        for name in &names {
            let values: Vec<f64> =
                runs.iter().filter_map(|run| last(run).get(name).copied()).collect();
            let digits = digits(name);
            row.push(match Stat::of(&values) {
                Some(Stat { mean, deviation: Some(deviation) }) => {
                    format!("{mean:.digits$}\u{a0}±\u{a0}{deviation:.digits$}").into()
                }
                Some(Stat { mean, deviation: None }) => Cell::Number(mean, digits),
                None => Cell::Empty,
            });
        }
        table.rows.push(row);
    }
    table
}

/// A row for each run.
fn each_run(runs: &[RecordedRun]) -> Table {
    let names = metric_names(runs.iter());
    let head = heads(&["run", "seed", "epochs"], &names);
    let mut table = Table::new("runs", "Each run after its last epoch", &head);
    for run in runs {
        let seed = run.config.as_ref().map_or(Cell::Empty, |config| config.seed.to_string().into());
        let mut row = vec![run.name.as_str().into(), seed, epochs(run).into()];
        let last = last(run);
        row.extend(names.iter().map(|name| {
            last.get(name).map_or(Cell::Empty, |&value| Cell::Number(value, digits(name)))
        }));
        table.rows.push(row);
    }
    table
}

/// What a finished run says of its classes or of the values it predicts.
fn data_tables(run: &RecordedRun, id: impl Fn(&str) -> String) -> Vec<Table> {
    let Some(summary) = &run.summary else { return Vec::new() };
    let head = "class|training|validation|test";
    let mut classes = Table::new(&id("classes"), "Examples of each class", head);
    for class in &summary.classes {
        let counts = [class.train, class.validation, class.test].map(Cell::count);
        classes.rows.push([class.name.as_str().into()].into_iter().chain(counts).collect());
    }
    let values = predictions::of_values(&id("values"), "the test data", summary.values.iter());
    [classes, values].into_iter().filter(|table| !table.rows.is_empty()).collect()
}

/// The workers of each unit after the last epoch; none if the method trains no workers.
fn workers(run: &RecordedRun, id: &str) -> Option<Table> {
    let row = run.rows.last().filter(|row| !row.test.units.is_empty())?;
    let head = "unit|workers|best error, %|mean error, %|highest error, %|lowest loss|mean loss|highest loss|\
                leads most: worker|in % of the batches";
    let mut table =
        Table::new(id, &format!("Workers on the test data after epoch {}", row.epoch), head);
    for (number, unit) in (1..).zip(&row.test.units) {
        let mut cells = vec![Cell::count(number), Cell::count(unit.workers("worker_losses").len())];
        for (metric, digits) in [("worker_errors", 2), ("worker_losses", 4)] {
            let range = figures::worker_range(unit, metric);
            cells.extend(
                (0..3).map(|at| range.map_or(Cell::Empty, |range| Cell::Number(range[at], digits))),
            );
        }
        let leads =
            row.train.units.get(number - 1).map_or(&[][..], |unit| unit.workers("lead_percent"));
        let most = leads.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1));
        cells.extend(match most {
            Some((worker, percent)) => [Cell::count(worker + 1), Cell::Number(*percent, 0)],
            None => [Cell::Empty, Cell::Empty],
        });
        table.rows.push(cells);
    }
    Some(table)
}
