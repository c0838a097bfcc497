//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use lfnn_cpu::max_threads;

use crate::backend::{self, BackendKind};
use lfnn_core::method;

const EXAMPLES: &str = "\
Examples:
  lfnn-cli train                          train the embedded digits with lfnn-l, in seconds
  lfnn-cli train mnist-s --method bp      the same network by backpropagation
  lfnn-cli train cifar10-m --dry-run      show the network and its memory; needs no data
  lfnn-cli eval runs/digits-lfnn-l-1      loss and error on the test images
  lfnn-cli data fetch mnist               download MNIST";

/// Train leader-follower networks with local losses, and compare them with backpropagation and others.
#[derive(Debug, Parser)]
#[command(name = "lfnn-cli", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Compute backend: auto, cpu, cuda or cuda:ORDINAL; `auto` uses a GPU if one is available
    #[arg(long, global = true, value_name = "NAME", default_value = "auto")]
    pub(crate) backend: BackendKind,

    /// CPU threads [default: all]. Results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,

    /// Concurrent GPU streams; 1 runs everything in order [default: 2]. Results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = streams)]
    pub(crate) streams: Option<usize>,

    /// Verbose output: after each epoch, every unit's worker errors and leaders
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    pub(crate) verbose: bool,

    /// Print only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const SCHEMA_HELP: &str = "\
Editors with a YAML language server use the schema for a file that begins with

  # yaml-language-server: $schema=config.schema.json

where config.schema.json is the output of this command.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a network; without arguments the embedded digits with lfnn-l
    Train(TrainArgs),
    /// Loss and error of a trained network, and of the workers inside it
    Eval(EvalArgs),
    /// Classes of image files, with probabilities
    Predict(PredictArgs),
    /// Write a trained network for use without this program
    Export(ExportArgs),
    /// Draw the curves of runs together, as SVG and PNG
    Plot(PlotArgs),
    /// Repeat a table or figure of the paper, or show what it claims, and report
    Reproduce(ReproduceArgs),
    /// One training step taken apart, for comparison with any other implementation
    Step(StepArgs),
    /// Speed and memory of a training step and of inference; needs no data
    Bench(BenchArgs),
    /// List the recipes, or print one as YAML
    Recipes {
        /// The recipe to print
        name: Option<String>,
    },
    /// Describe configuration files
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// List, download or check data sets
    Data {
        #[command(subcommand)]
        action: DataAction,
    },
    /// What backends this machine can run, and why not the others
    Devices,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

const TRAIN_HELP: &str = "\
The configuration is the recipe, then the file of --config over it, then the options, then every
--set in order. Keys are those of `lfnn-cli recipes NAME`; CONFIG.md documents all of them. Lists
take positions from 0:

  lfnn-cli train --set training.optimizer.adamw.lr=1e-3 --set network.units.0.workers.readout.count=8

A run folder holds config.yaml, metrics.jsonl, metrics.csv, summary.json and checkpoints/. Ctrl-C
finishes the batch, saves and prints the command that resumes the run. A resumed run ends with the same
bytes as one that was never stopped. Data that has moved: --resume --set dataset.path=PATH.";

/// Arguments of `train`.
#[derive(Debug, Args)]
#[command(after_help = TRAIN_HELP)]
pub(crate) struct TrainArgs {
    /// Data set, network and settings; see `lfnn-cli recipes` [default: digits]
    pub(crate) recipe: Option<String>,

    /// A YAML file, over the recipe if there is one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    // What it is for is written by `method_help`, since the core knows the names.
    #[arg(long, value_name = "NAME", help = method_help())]
    pub(crate) method: Option<String>,

    /// Set any key of the configuration; may be given many times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,

    #[command(flatten)]
    pub(crate) data: DataFolder,

    /// The run's folder [default: runs/RECIPE-METHOD-SEED, with -2, -3, … if it is taken]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,

    /// Random seed [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Arithmetic of the GPU: f32, tf32, bf16 or f16; the CPU has f32 [default: f32]
    #[arg(long, value_name = "NAME")]
    pub(crate) precision: Option<String>,

    /// Passes over the training images
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<usize>,

    /// Resume the run in --out, or the newest of this recipe, method and seed
    #[arg(long)]
    pub(crate) resume: bool,

    /// Train on at most N batches of each epoch
    #[arg(long, value_name = "N")]
    pub(crate) limit_batches: Option<usize>,

    /// Train on the same N batches over and over, without augmentation
    #[arg(long, value_name = "N", conflicts_with = "limit_batches")]
    pub(crate) overfit_batches: Option<usize>,

    /// Write the metrics for TensorBoard too; a run that has them keeps them when it is resumed
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) tensorboard: bool,

    /// Show the network and the memory of a step, and train nothing
    #[arg(long, conflicts_with = "resume")]
    pub(crate) dry_run: bool,
}

/// Where data sets are.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DataFolder {
    /// Folder of the data sets (mnist/, cifar-10-batches-bin/, …) [default: the user's cache folder]
    #[arg(long, env = "LFNN_DATA_DIR", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A run's folder (its last checkpoint is taken) or a checkpoint
    #[arg(value_name = "RUN|CHECKPOINT", value_hint = ValueHint::AnyPath)]
    pub(crate) run: PathBuf,

    #[command(flatten)]
    pub(crate) data: DataFolder,

    /// Folder of the data set itself, in place of the run's; for data that has moved
    #[arg(long = "data", value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub(crate) path: Option<PathBuf>,

    /// Which images
    #[arg(long, value_enum, default_value_t)]
    pub(crate) split: Split,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which images of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Split {
    /// The test images.
    #[default]
    Test,
    /// The images trained on.
    Train,
    /// The training images that were held out.
    Validation,
}

const PREDICT_HELP: &str = "\
An image is turned as its EXIF orientation says, made grey or RGB as the data set is, and resized to
the data set's height and width (bilinear; the aspect ratio is not kept). It should look like the
data set: the digits of MNIST are light on a dark ground.

--json prints a list with an object for each IMAGE, in their order. It holds `image` (the file),
`index`, `class` and `probability` of the most probable class, and `probabilities`: a list in the
order of the classes with `index`, `class` and `probability` of each. For a file that cannot be read
it holds `image` and `error`. The other files are answered all the same, and the exit code is 1.";

/// Arguments of `predict`.
#[derive(Debug, Args)]
#[command(after_help = PREDICT_HELP)]
pub(crate) struct PredictArgs {
    /// A run's folder (its last checkpoint is taken) or a checkpoint
    #[arg(value_name = "RUN|CHECKPOINT", value_hint = ValueHint::AnyPath)]
    pub(crate) run: PathBuf,

    /// JPEG, PNG, BMP, GIF, WebP or PNM files
    #[arg(value_name = "IMAGE", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) images: Vec<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const EXPORT_HELP: &str = "\
What is written is the predictor: the layers up to the output layer, without readouts, optimiser and
counters.

  onnx         input `images` (batch, channels, height, width), pixel values from 0 to 1: normalisation
               (and the permutation of pixels, where there is one) is part of the model. Outputs
               `probabilities`, one for each class, and `logits`. The metadata's `classes` names them.
  safetensors  the weights, named and shaped as in a checkpoint. The metadata's key `predictor` is JSON:
               classes, config, epoch, image (height, width, channels), normalization (mean, std).";

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = EXPORT_HELP)]
pub(crate) struct ExportArgs {
    /// A run's folder (its last checkpoint is taken) or a checkpoint
    #[arg(value_name = "RUN|CHECKPOINT", value_hint = ValueHint::AnyPath)]
    pub(crate) run: PathBuf,

    /// What to write
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,

    /// The file [default: predictor.FORMAT in the run's folder, or beside the checkpoint]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
}

/// What a predictor is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A model for any runtime of ONNX.
    Onnx,
    /// Weights for PyTorch and others.
    Safetensors,
}

/// Arguments of `plot`.
#[derive(Debug, Args)]
pub(crate) struct PlotArgs {
    /// Folders of runs
    #[arg(value_name = "RUN", required = true, value_hint = ValueHint::DirPath)]
    pub(crate) runs: Vec<PathBuf>,

    /// Where curves.svg and curves.png go
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
}

const REPRODUCE_HELP: &str = "\
Targets:
  table1      test and training error of all methods
  table2      lfnn and lfnn-l with 10 % to 100 % leaders, MNIST and CIFAR-10
  table3      the same on Tiny ImageNet
  fig3a       one pass over permuted MNIST: accuracy against leaders, 32 to 512 workers
  fig3b       the four loss functions: accuracy against steps
  fig4        the four loss functions: the terms of the loss against steps
  fig5        how workers move, leaders and followers; the Vicsek model beside it
  fig6        how often each worker leads
  supplement  the best leader of each unit; leaders against followers
  locality    on whose parameters each unit's gradient depends, for all methods
  memory      memory and time of a step against depth, lfnn-l beside bp

The plan is printed first, with the time that it will take. Ctrl-C, or a crash, loses nothing: the
same command resumes. Everything is below OUT: runs/ holds the trainings, which targets share, and a
folder for each target holds report.html, tables as CSV, results.json and figures as SVG and PNG.";

/// Arguments of `reproduce`.
#[derive(Debug, Args)]
#[command(after_help = REPRODUCE_HELP)]
pub(crate) struct ReproduceArgs {
    /// What to repeat
    pub(crate) target: String,

    /// `quick`: the digits inside the program, in two minutes; `paper`: the paper's data
    #[arg(long, value_enum, default_value_t)]
    pub(crate) scale: Scale,

    /// Of a table, only the parts of these recipes [default: all whose data is there]
    #[arg(long = "recipe", value_name = "RECIPE")]
    pub(crate) recipes: Vec<String>,

    /// Train with the seeds 1 to N [default: 3]
    #[arg(long, value_name = "N", value_parser = seeds)]
    pub(crate) seeds: Option<usize>,

    #[command(flatten)]
    pub(crate) data: DataFolder,

    /// Where everything goes [default: reproduction/SCALE]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,

    /// Trainings at a time, each with its share of the threads [default: one per thread]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) jobs: Option<usize>,

    /// Print the plan and the time it will take, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Passes over the training images, in place of the recipe's
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) epochs: Option<usize>,

    /// Train on at most N batches of each epoch
    #[arg(long, value_name = "N", hide = true, value_parser = at_least_one)]
    pub(crate) limit_batches: Option<usize>,
}

/// How much is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// The embedded digits, in two minutes.
    #[default]
    Quick,
    /// The paper's data and the recipes' epochs.
    Paper,
}

const STEP_HELP: &str = "\
FILE of --config: YAML or JSON with the keys method, classes, network, leadership, training (of which
label_smoothing matters), seed and input (channels, height, width).
--weights: every parameter and buffer, named as in a checkpoint or with `weights/` before the name; for
the method fa also `feedback/NAME`, the matrix used in place of a weight (drawn from the seed if missing).
--batch: `images` (batch, channels, height, width), normalised, and `target`; or with `batch/` before.
--out: `logits`, `output.loss`, `unitN.errors`, `unitN.leaders`, `unitN.best`, `unitN.leader_loss`,
`unitN.follower_loss`, `gradients/NAME`, `buffers/NAME` (running statistics after the step),
`directions/NAME` (random directions of forward gradients, of a parameter or a layer's output) and
`feedback/NAME`. Directions do not depend on the weights.
Tensors of other names in --weights and --batch that have a `/` in them are passed over.";

/// Arguments of `step`.
#[derive(Debug, Args)]
#[command(after_help = STEP_HELP)]
pub(crate) struct StepArgs {
    /// The network and the method
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,

    /// Parameters and buffers before the step
    #[arg(long, value_name = "F.safetensors", value_hint = ValueHint::FilePath)]
    pub(crate) weights: PathBuf,

    /// Images and targets
    #[arg(long, value_name = "F.safetensors", value_hint = ValueHint::FilePath)]
    pub(crate) batch: PathBuf,

    /// Where to write what the step computed
    #[arg(long, value_name = "F.safetensors", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
}

const BENCH_HELP: &str = "\
Images are random bytes in the shape of the recipe's data set. Steps are timed in blocks, and the
table gives the median block with the quartiles. GFLOP/s count the products of the layers alone, GB/s
each tensor that an operation reads or writes once; beside them is what this machine reaches in
a loop of multiply-adds in registers and in copying more than the caches hold. A convolution counts
as done directly: by Winograd's method it takes fewer operations, and its figure may be above that.";

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = BENCH_HELP)]
pub(crate) struct BenchArgs {
    /// Data set, network and settings; see `lfnn-cli recipes` [default: mnist-s]
    #[arg(long, value_name = "NAME")]
    pub(crate) recipe: Option<String>,

    /// A YAML file, over the recipe if there is one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// The training method [default: lfnn-l]
    #[arg(long, value_name = "NAME")]
    pub(crate) method: Option<String>,

    /// Images in a batch [default: the recipe's]
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,

    /// Arithmetic of the GPU: f32, tf32, bf16 or f16; the CPU has f32 [default: f32]
    #[arg(long, value_name = "NAME")]
    pub(crate) precision: Option<String>,

    /// Set any key of the configuration; may be given many times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,

    /// How long to measure training and inference, each
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Measure nothing: print what another program needs to do the same, as JSON
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) describe: bool,
}

const VERIFY_HELP: &str = "\
Files that were published with a checksum are compared with it. The images of `folder` and
`tiny-imagenet` have none: each is decoded, as training would. `folder` needs PATH:

  lfnn-cli data verify folder my/images   check my/images/train/CLASS/* and my/images/test/CLASS/*

What is not wrong but may not be expected (files that are left out, grey images) is a note.";

/// What to do with configuration files.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Print the JSON schema of a configuration file, with which editors complete and check it
    #[command(after_help = SCHEMA_HELP)]
    Schema,
}

/// What to do with data sets.
#[derive(Debug, Subcommand)]
pub(crate) enum DataAction {
    /// List the data sets, where they lie, and whether they are there
    List {
        #[command(flatten)]
        data: DataFolder,
    },
    /// Download a data set
    Fetch {
        /// The data set
        name: String,
        #[command(flatten)]
        data: DataFolder,
    },
    /// Check every file of a data set; of all that are there, if none is named
    #[command(after_help = VERIFY_HELP)]
    Verify {
        /// The data set
        name: Option<String>,
        /// The data set's own folder, if it is not the usual one in the data folder
        #[arg(value_name = "PATH", value_hint = ValueHint::DirPath)]
        path: Option<PathBuf>,
        #[command(flatten)]
        data: DataFolder,
    },
}

fn method_help() -> String {
    let names = method::names().join(", ");
    format!("Which error signal reaches which parameter: {names} [default: lfnn-l]")
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("expected a whole number from 1 on".into()),
    }
}

/// From 1 to a limit, of which the message says why it is there.
fn up_to(text: &str, most: usize, why: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        number if number > most => Err(format!("expected at most {most}: {why}")),
        number => Ok(number),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    up_to(
        text,
        max_threads(),
        "four for each that this machine runs at once, or 64; more only wait",
    )
}

fn streams(text: &str) -> Result<usize, String> {
    backend::streams(at_least_one(text)?)
}

/// Seeds of one figure: far more than any mean needs.
const MAX_SEEDS: usize = 1000;

fn seeds(text: &str) -> Result<usize, String> {
    up_to(text, MAX_SEEDS, "each is a whole training")
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 3600.0 => Ok(number),
        _ => Err("expected a number of seconds above 0 and at most 3600".into()),
    }
}
