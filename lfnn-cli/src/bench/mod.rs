//! The command `bench`: how fast a recipe trains and predicts here, and what takes the time.

mod measure;
mod report;

use lfnn_core::backend::{Memory, PeakRates};
use lfnn_core::program::Cost;
use lfnn_core::train::ProfiledStep;

use crate::backend::BackendArgs;
use crate::cli::{BenchArgs, DataFolder};
use crate::config::{self, Request};
use crate::data;
use crate::failure::Result;
use crate::output::Output;
use crate::resolved::{ResolvedRun, Resources};

use measure::Measure;

/// The recipe that is measured if none is named.
const DEFAULT_RECIPE: &str = "mnist-s";

/// Runs the command.
///
/// # Errors
/// Anything wrong in the command line, or a failure of the backend.
pub(crate) fn command(args: &BenchArgs, backend: BackendArgs, output: &Output) -> Result {
    let options = [
        config::option("method", "method", args.method.as_ref()),
        config::option("batch", "training.batch_size", args.batch),
        config::option("precision", "precision", args.precision.as_ref()),
    ];
    let options = options.into_iter().flatten().collect();
    let (recipe, file) = (args.recipe.as_deref(), args.config.as_deref());
    let request = Request { recipe, file, options, sets: &args.set };
    let config = config::resolve_on(DEFAULT_RECIPE, &request)?;
    let resources = Resources { data_root: data::root(&DataFolder::default())?, backend };
    let run = ResolvedRun { config, resources };
    let shape = run.data_shape(output)?;
    let description = report::description(&run.config, &shape)?;
    if args.describe {
        return output.result(&report::json(description)?);
    }
    let task = Measure { config: &run.config, shape: &shape, seconds: args.seconds };
    let result = task.run(&run.device(output)?)?;
    let text = match args.json {
        true => report::json(report::measured(description, &result))?,
        false => report::text(&result),
    };
    output.result(&text)
}

/// Median and quartiles of several measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    /// The quartiles of at least one number.
    fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let at = |share: f64| numbers[((numbers.len() - 1) as f64 * share).round() as usize];
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }
}

/// What was measured.
#[derive(Debug)]
struct Measured {
    recipe: String,
    method: String,
    batch: usize,
    device: String,
    /// Images a second in training.
    training: Spread,
    /// Images a second in inference.
    inference: Spread,
    /// What a training step cannot do without.
    cost: Cost,
    memory: Memory,
    peak: Option<u64>,
    /// Operations of a training step, with the least time of several runs.
    steps: Vec<ProfiledStep>,
    peak_rates: Option<PeakRates>,
}

impl Measured {
    /// Seconds of a training step.
    fn step_seconds(&self) -> f64 {
        self.batch as f64 / self.training.median
    }
}
