//! What the programs that stand for other frameworks share: the command line, the description of the work, the
//! measurement and the report.
//!
//! A program is called as `PROGRAM DESCRIPTION.json --threads N --seconds S [--variant NAME]`, where the description
//! is what `lfnn-cli bench --json` prints. It implements [`Contender`] and hands its `main` to [`run`].

mod description;
mod measure;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::json;

pub use description::{Description, Method};
pub use lfnn_core::{config, layer, unit};

/// A network in another framework, with a batch of random images and labels of its own.
pub trait Contender {
    /// A whole training step on the batch.
    fn step(&mut self) -> Result<()>;
    /// The global loss of the batch, as a training step sees it.
    fn loss(&self) -> Result<f32>;
    /// The global readout's logits of the batch in evaluation mode, without gradients.
    fn infer(&self) -> Result<()>;
    /// Number of parameters that training changes.
    fn parameters(&self) -> usize;
}

/// How a framework presents itself.
#[derive(Clone, Copy, Debug)]
pub struct Framework {
    /// Its name, followed in the report by the version of `package` in `lock`.
    pub name: &'static str,
    /// The package whose version counts.
    pub package: &'static str,
    /// The program's `Cargo.lock`.
    pub lock: &'static str,
    /// Ways to compute, the best first.
    pub variants: &'static [&'static str],
}

/// Trains and predicts lfnn's networks in another framework, and prints how fast it is.
#[derive(Debug, Parser)]
struct Arguments {
    /// What `lfnn-cli bench --json` printed.
    description: PathBuf,
    /// Threads.
    #[arg(long)]
    threads: usize,
    /// How long to measure training and inference, each.
    #[arg(long)]
    seconds: f64,
    /// The way to compute.
    #[arg(long)]
    variant: Option<String>,
}

/// The whole program: 0 after a report on stdout, 1 after one line on stderr.
pub fn run<C: Contender>(
    framework: Framework,
    build: impl FnOnce(&Description, &str) -> Result<C>,
) -> ExitCode {
    match report(framework, &Arguments::parse(), build) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {}", framework.name, format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

/// A loss may rise in the first steps, and of a slow step only a few are measured: so many times five more before it is
/// said not to learn. bench/pytorch/cpu.py has the same.
const PATIENCE: usize = 8;

fn report<C: Contender>(
    framework: Framework,
    arguments: &Arguments,
    build: impl FnOnce(&Description, &str) -> Result<C>,
) -> Result<String> {
    let variant = match arguments.variant.as_deref() {
        None => framework.variants[0],
        Some(name) if framework.variants.contains(&name) => name,
        Some(name) => bail!("no variant `{name}`: expected {}", framework.variants.join(" or ")),
    };
    if arguments.threads == 0 {
        bail!("--threads 0: expected at least 1");
    }
    with_environment(arguments.threads)?;
    let path = &arguments.description;
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let description = Description::parse(&text).with_context(|| path.display().to_string())?;
    let mut contender = build(&description, variant)?;
    let first_loss = contender.loss()?;
    let speeds = measure::speeds(&mut contender, description.batch(), arguments.seconds)?;
    let mut last_loss = contender.loss()?;
    for _ in 0..PATIENCE {
        if last_loss < first_loss {
            break;
        }
        for _ in 0..5 {
            contender.step()?;
        }
        last_loss = contender.loss()?;
    }
    let report = json!({
        "framework": format!("{} {}", framework.name, version(framework.lock, framework.package)?),
        "variant": variant,
        "threads": arguments.threads,
        "training_images_per_second": speeds.training,
        "inference_images_per_second": speeds.inference,
        "first_loss": first_loss,
        "last_loss": last_loss,
        "parameters": contender.parameters(),
        "peak_memory_bytes": measure::peak_memory()?,
    });
    Ok(serde_json::to_string_pretty(&report)?)
}

/// Starts the program anew with what has to stand in its environment from the start: the number of threads, which the
/// frameworks read when they first need it, and an allocator that keeps what was freed. These frameworks allocate every
/// result anew, and glibc would hand large blocks back to the system and fault them in again in every step.
fn with_environment(threads: usize) -> Result<()> {
    let wanted = [
        ("RAYON_NUM_THREADS", threads.to_string()),
        (
            "GLIBC_TUNABLES",
            "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184".into(),
        ),
    ];
    if wanted.iter().all(|(name, value)| std::env::var(name).is_ok_and(|set| set == *value)) {
        return Ok(());
    }
    let program = std::env::current_exe().context("this program's path")?;
    let error = Command::new(program).args(std::env::args_os().skip(1)).envs(wanted).exec();
    Err(error).context("starting anew with threads and allocator set")
}

/// The version of a package in a `Cargo.lock`.
fn version<'a>(lock: &'a str, package: &str) -> Result<&'a str> {
    let (_, after) = lock
        .split_once(&format!("name = \"{package}\"\nversion = \""))
        .with_context(|| format!("Cargo.lock has no package {package}"))?;
    after.split('"').next().with_context(|| format!("{package} has no version"))
}
