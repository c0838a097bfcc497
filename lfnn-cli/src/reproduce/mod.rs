//! `reproduce`: the paper's tables and figures, each by one command.
//!
//! A target is a plan and a report: the plan is a list of trainings, which are ordinary runs, and of
//! computations; the report makes tables and figures of their results. Results are kept, so that the same
//! command resumes after an interruption, and targets share trainings.

mod paper;
mod plan;
mod report;
mod runner;
mod targets;
mod trace;
mod trial;
mod vicsek;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};

use crate::backend::{BackendArgs, BackendKind};
use crate::cli::{ReproduceArgs, Scale};
use crate::config::did_you_mean;
use crate::failure::{Failure, Result};
use crate::files::create_folder;
use crate::output::{Level, Output};
use crate::resolved::Resources;
use crate::run::Origin;
use crate::{data, format, interrupt, processes};

use plan::{ReproduceRequest, Task};
use report::{Provenance, TaskRecord};
use runner::{Outcome, Results, Runner};
use targets::{TARGETS, Target};

/// Seeds by default: enough for a mean and a spread.
const SEEDS: usize = 3;

/// Runs the command.
///
/// # Errors
/// A target that is not there, data that is missing, or what fails on the way.
pub(crate) fn command(args: &ReproduceArgs, backend: BackendArgs, output: &Output) -> Result {
    processes::check_single()?;
    let target = find(&args.target)?;
    let (backend, device) = backend.resolved();
    let resources = Resources { data_root: data::root(&args.data)?, backend };
    let request = ReproduceRequest {
        scale: args.scale,
        recipes: args.recipes.clone(),
        seeds: (1..=args.seeds.unwrap_or(SEEDS) as u64).collect(),
        data_root: resources.data_root.clone(),
        limits: limits(args),
    };
    if !target.has_parts && !request.recipes.is_empty() {
        return Err(Failure::Usage(anyhow!(
            "--recipe chooses parts of a table, and {} has none to choose from",
            target.name
        )));
    }
    let default_out = || PathBuf::from("reproduction").join(request.scale_name());
    let out = args.out.clone().unwrap_or_else(default_out);
    interrupt::listen()?;
    let runner = Runner { out: &out, resources: &resources, output };
    output.info(&format!("{} · {} scale: {}", target.name, request.scale_name(), target.about))?;
    output.info(&format!("backend: {device}"))?;

    let mut results = Results { request: &request, outcomes: BTreeMap::new() };
    let (mut ids, mut open) = (Vec::new(), Vec::new());
    for task in target.plan(&request)? {
        let id = task.id();
        // Parts of a plan may share a task.
        if ids.contains(&id) {
            continue;
        }
        match runner.done(&task)? {
            Some(outcome) => drop(results.outcomes.insert(id.clone(), outcome)),
            None => open.push(task),
        }
        ids.push(id);
    }
    let total = ids.len();
    let threads = backend.threads();
    let most = if on_gpu(backend) { 1 } else { threads };
    let concurrent = open.iter().filter(|task| !task.alone()).count();
    let side = args.jobs.unwrap_or(most).min(concurrent.max(1));
    print_plan(&open, (total, side, threads), &runner, output)?;
    if args.dry_run {
        return Ok(());
    }
    let ran = runner.run_all(&open, side, threads, &mut results);
    if matches!(ran, Err(Failure::Interrupted)) && output.level() >= Level::Normal {
        output.note("stopped and saved; the same command resumes");
    }
    ran?;

    let mut report = target.report(&results)?;
    let has_failed = |outcome: &&Outcome| matches!(outcome, Outcome::Failed(_));
    let failed = results.outcomes.values().filter(has_failed).count();
    if failed > 0 {
        report.faults.push(format!("{failed} of {total} trainings and computations failed."));
    }
    let folder = out.join(target.name);
    create_folder(&folder)?;
    report.write(&folder, &provenance(args, backend.kind, &ids, &results))?;
    for table in &report.tables {
        let (path, count) = (folder.join(&table.name), table.rows.len());
        let text = match table.is_long() {
            true => format!("{count} rows in {}.csv\n", path.display()),
            false => table.text(),
        };
        output.info(&format!("\n{}\n{text}", table.caption))?;
    }
    output.result(&format!("report: {}", folder.join("report.html").display()))?;
    match &report.faults[..] {
        [] => Ok(()),
        faults => Err(Failure::Runtime(anyhow!("{}", faults.join(" ")))),
    }
}

/// The names of all targets.
pub(crate) fn target_names() -> impl Iterator<Item = &'static str> {
    TARGETS.iter().map(|target| target.name)
}

fn find(name: &str) -> Result<&'static Target> {
    TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
        let near = did_you_mean(name, target_names());
        let list = target_names().collect::<Vec<_>>().join(", ");
        Failure::Usage(anyhow!("there is no target `{name}`{near} (expected one of {list})"))
    })
}

fn limits(args: &ReproduceArgs) -> Vec<String> {
    let epochs = args.epochs.map(|epochs| format!("training.epochs={epochs}"));
    let batches = args.limit_batches.map(|batches| format!("limits.batches={batches}"));
    epochs.into_iter().chain(batches).collect()
}

fn on_gpu(backend: BackendArgs) -> bool {
    matches!(backend.kind, BackendKind::Cuda(_))
}

/// Prints what will be done and how long it will take.
fn print_plan(
    open: &[Task],
    (total, side, threads): (usize, usize, usize),
    runner: &Runner<'_>,
    output: &Output,
) -> Result {
    output.info(&format!("folder: {}", runner.out.display()))?;
    if open.is_empty() {
        return output.info(&format!("plan: all {total} trainings and computations are done"));
    }
    let share = (threads / side).max(1);
    let times = trial::of_tasks(open, &runner.resources.with_threads(share))?;
    let sum = |alone: bool| -> Duration {
        let of = open.iter().zip(&times).filter(|(task, _)| task.alone() == alone);
        of.map(|(_, time)| *time).sum()
    };
    let longest = times.iter().max().copied().unwrap_or_default();
    // Trainings side by side share one GPU.
    let faster = if on_gpu(runner.resources.backend) { 1 } else { side };
    let time = sum(true) + sum(false).div_f64(faster as f64).max(longest);
    for (task, time) in open.iter().zip(&times) {
        output.detail(&format!("  {:<44}  about {}", task.id(), format::duration(*time)))?;
    }
    output.info(&format!(
        "plan: {} of {total} trainings and computations to do; {side} at a time, {} each; \
         about {} by a short trial\n",
        open.len(),
        format::number_of(share, "thread"),
        format::duration(time)
    ))
}

/// What was run, for the report.
fn provenance(
    args: &ReproduceArgs,
    backend: BackendKind,
    ids: &[String],
    results: &Results<'_>,
) -> Provenance {
    let request = results.request;
    let mut command =
        format!("lfnn-cli reproduce {} --scale {}", args.target, request.scale_name());
    for recipe in &args.recipes {
        command += &format!(" --recipe {recipe}");
    }
    for (flag, value) in
        [("seeds", args.seeds), ("epochs", args.epochs), ("limit-batches", args.limit_batches)]
    {
        command += &value.map(|value| format!(" --{flag} {value}")).unwrap_or_default();
    }
    let (mut tasks, mut configurations) = (Vec::new(), BTreeMap::new());
    // A training that began on a GPU may be resumed on a CPU.
    let mut backends = BTreeSet::new();
    for id in ids {
        let Some(outcome) = results.outcomes.get(id) else { continue };
        let run_file = |name: &str| (name.to_owned(), format!("../runs/{id}/{name}"));
        let mut files = Vec::new();
        let result = match outcome {
            Outcome::Trained(run) => {
                backends.insert(run.summary.backend.clone());
                files = ["metrics.csv", "metrics.jsonl", "summary.json"].map(run_file).to_vec();
                let mut alike = run.config.clone();
                alike.seed = 0;
                if let Ok(key) = alike.to_yaml() {
                    let yaml = run.config.to_yaml().unwrap_or_default();
                    configurations.entry(key).or_insert((id.clone(), yaml));
                }
                serde_json::to_value(&run.summary).unwrap_or(Value::Null)
            }
            Outcome::Computed(value) => {
                files.push((format!("{id}.json"), format!("../computed/{id}.json")));
                value.clone()
            }
            Outcome::Failed(why) => json!({"failed": why}),
        };
        let text = outcome.describe("failed");
        tasks.push(TaskRecord { id: id.clone(), text, result, files });
    }
    if backends.is_empty() {
        backends.insert(backend.to_string());
    }
    Provenance {
        command,
        made: Origin::now(),
        scale: match request.scale {
            Scale::Quick => "quick: the embedded 8×8 digits".into(),
            Scale::Paper => "paper: the paper's data, the recipes' epochs".into(),
        },
        seeds: request.seeds.clone(),
        backend: backends.into_iter().collect::<Vec<_>>().join(" and "),
        tasks,
        configurations: configurations.into_values().collect(),
    }
}
