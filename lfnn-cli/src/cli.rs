//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use lfnn_cpu::max_threads;

use crate::backend::{self, BackendKind};
use crate::ensemble::EnsembleArgs;
use crate::train::init::Units;
use lfnn_core::method;

const EXAMPLES: &str = "\
Examples:
  lfnn-cli train                        train on the embedded digits, in seconds
  lfnn-cli train mnist-s --method bp    train with backpropagation
  lfnn-cli train cifar10-m --dry-run    show the network and its memory
  lfnn-cli eval runs/digits-lfnn-l-1    print loss and error on the test images
  lfnn-cli data fetch mnist             download MNIST";

/// Train leader-follower networks with local losses, and compare them with backpropagation and others.
#[derive(Debug, Parser)]
#[command(name = "lfnn-cli", version, about, after_help = EXAMPLES, max_term_width = 80)]
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

    /// Print the worker errors and leaders of every unit after each epoch
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
    /// Train a network; without arguments, on the embedded digits with lfnn-l
    Train(TrainArgs),
    /// Print loss and error of a trained network and of its workers
    Eval(EvalArgs),
    /// Print what predictions cost that stop at the first unit that is sure enough
    EarlyExit(EarlyExitArgs),
    /// Print the classes of image files, with probabilities
    Predict(PredictArgs),
    /// Write a trained network for use without this program
    Export(ExportArgs),
    /// Draw curves and leadership of runs, as SVG and PNG
    Plot(PlotArgs),
    /// Write one HTML page about runs: curves, leadership, workers, scores, settings
    Report(ReportArgs),
    /// Reproduce a table, figure or claim of the paper
    Reproduce(ReproduceArgs),
    /// Run one training step and write all its parts, to compare implementations
    Step(StepArgs),
    /// Measure speed and memory of training and inference; needs no data
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
    /// List the available backends, and why others are not
    Devices,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

const TRAIN_HELP: &str = "\
The configuration starts as the recipe. The file of --config overrides it, then
the other options, then every --set in order. `lfnn-cli recipes NAME` prints the
keys of a recipe; CONFIG.md documents all keys. List positions count from 0:

  lfnn-cli train --set training.optimizer.adamw.lr=1e-3
  lfnn-cli train --set network.units.0.workers.readout.count=8

A run folder holds config.yaml, metrics.jsonl, metrics.csv, summary.json and
checkpoints/. Ctrl-C finishes the batch, saves and prints the command that
resumes the run. A resumed run ends with the same bytes as one that was never
interrupted. If the data has moved, add --set dataset.path=PATH to --resume.";

/// Arguments of `train`.
#[derive(Debug, Args)]
#[command(after_help = TRAIN_HELP)]
pub(crate) struct TrainArgs {
    /// Recipe: data set, network and settings; see `lfnn-cli recipes` [default: digits]
    pub(crate) recipe: Option<String>,

    /// YAML file that overrides the recipe
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    // `method_help` writes the help, because the core knows the names.
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

    /// Begin with the weights of a run or checkpoint, where names and shapes match
    #[arg(long, value_name = "RUN|CHECKPOINT", value_hint = ValueHint::AnyPath, conflicts_with = "resume")]
    pub(crate) init: Option<PathBuf>,

    /// Units that do not train: `1`, `1-3`, `1,3`, or `all` that --init has
    #[arg(long, value_name = "UNITS", requires = "init")]
    pub(crate) freeze: Option<Units>,

    /// Random seed [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Precision on the GPU: f32, tf32, bf16 or f16; the CPU uses f32 [default: f32]
    #[arg(long, value_name = "NAME")]
    pub(crate) precision: Option<String>,

    /// Passes over the training images; more of them continue a finished run, with --resume
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

    /// Also write the metrics for TensorBoard; a resumed run continues to
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) tensorboard: bool,

    /// Also write the metrics of every N steps to steps.jsonl; a resumed run continues to
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "dry_run")]
    pub(crate) log_steps: Option<usize>,

    /// Show the network and the memory of a step, and do not train
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
    /// A run's folder (its last checkpoint is used) or a checkpoint
    #[arg(value_name = "RUN|CHECKPOINT", value_hint = ValueHint::AnyPath)]
    pub(crate) run: PathBuf,

    #[command(flatten)]
    pub(crate) data: DataFolder,

    /// The data set, if it has moved since the run; or another table, arrays or folder of images with a
    /// folder for each class, all of which is evaluated
    #[arg(long = "data", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: Option<PathBuf>,

    /// Which examples of the run's data to evaluate [default: test]
    #[arg(long, value_enum)]
    pub(crate) split: Option<Split>,

    #[command(flatten)]
    pub(crate) ensemble: EnsembleArgs,

    /// Also print confusion matrix, precision, recall and F1 of each class, calibration error; AUC of
    /// two classes, top-5 error of more than five
    #[arg(long)]
    pub(crate) scores: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `early-exit`.
#[derive(Debug, Args)]
pub(crate) struct EarlyExitArgs {
    /// A run's folder (its last checkpoint is used) or a checkpoint
    #[arg(value_name = "RUN|CHECKPOINT", value_hint = ValueHint::AnyPath)]
    pub(crate) run: PathBuf,

    #[command(flatten)]
    pub(crate) data: DataFolder,

    /// The data set, if it has moved since the run
    #[arg(long = "data", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: Option<PathBuf>,

    /// Also draw the curve: folder for early_exit.svg and early_exit.png
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which examples of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Split {
    /// The test examples.
    #[default]
    Test,
    /// The examples trained on.
    Train,
    /// The training examples that were held out.
    Validation,
}

const PREDICT_HELP: &str = "\
INPUT is what the network was trained on, without what it predicts:

  images  JPEG, PNG, BMP, GIF, WebP or PNM files, or folders of them. Each image
          is rotated by its EXIF orientation, converted to grey or RGB like the
          data set, and resized to the data set's height and width (bilinear;
          the aspect ratio is not kept). It should look like the data set: the
          digits of MNIST are light on a dark ground.
  table   CSV or TSV files with the columns of the training table, in any order
          and without those to predict; `-` reads standard input.
  arrays  .npy, .npz or .safetensors files with x, x_test or one array.

The answer is a line for each image, or CSV with a line for each row. Numbers are
in the units of the training data. With several files the first column of the
CSV names the file.

--json prints a list with an object for each image. It holds `image` (the file),
`index`, `class` and `probability` of the most probable class, and
`probabilities`: a list of `index`, `class` and `probability`, in the order of
the classes. Of tables and arrays it prints such an object in each line, with
`file` and `row` (from 1); of numbers it holds `values`. For a file that cannot
be read it holds the file and `error`; the other files are still answered, and
the exit code is 1.";

/// Arguments of `predict`.
#[derive(Debug, Args)]
#[command(after_help = PREDICT_HELP)]
pub(crate) struct PredictArgs {
    /// A run's folder (its last checkpoint is used) or a checkpoint
    #[arg(value_name = "RUN|CHECKPOINT", value_hint = ValueHint::AnyPath)]
    pub(crate) run: PathBuf,

    /// Images, folders of images, tables or arrays; `-` is standard input
    #[arg(value_name = "INPUT", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) inputs: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) ensemble: EnsembleArgs,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const EXPORT_HELP: &str = "\
The file holds what prediction needs: the layers up to the output layer, without
the heads of workers (unless --workers or --ensemble), optimiser state and
counters.

  onnx         input `images` (batch, channels, height, width) with values from
               0 to 1; the model normalises them (and permutes pixels, if the
               data set does). Of tables and arrays of two axes the input is
               `features` (batch, features), in the units of the training data;
               the metadata's key `features` names those of a table, in which
               a category is 1 or 0. Outputs `probabilities`, one for each
               class, and `logits`; in a regression `values`, in the units of
               the training data. The metadata's key `classes` or `values` has
               the names. With --workers, also `unit1`, `unit2`, … (batch,
               workers, classes or values): what the workers of each hidden
               unit predict.
  safetensors  the weights, named and shaped as in a checkpoint. The metadata's
               key `predictor` is JSON: classes or values (names), config,
               epoch, image (height, width, channels), normalization (mean,
               std); of a table also features and table (how its columns become
               features), in a regression value_normalization (mean, std).";

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = EXPORT_HELP)]
pub(crate) struct ExportArgs {
    /// A run's folder (its last checkpoint is used) or a checkpoint
    #[arg(value_name = "RUN|CHECKPOINT", value_hint = ValueHint::AnyPath)]
    pub(crate) run: PathBuf,

    /// Format of the file
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,

    /// Also make what the workers of each hidden unit predict outputs of the ONNX model
    #[arg(long)]
    pub(crate) workers: bool,

    #[command(flatten)]
    pub(crate) ensemble: EnsembleArgs,

    /// File to write [default: predictor.FORMAT in the run's folder, or beside the checkpoint]
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

const PLOT_HELP: &str = "\
Runs that differ only in their seeds are one curve: their mean, with a band of
one standard deviation. `curves` shows every metric of the networks,
`leadership` the share of the batches in which each worker was a leader.";

/// Arguments of `plot`.
#[derive(Debug, Args)]
#[command(after_help = PLOT_HELP)]
pub(crate) struct PlotArgs {
    /// Folders of runs
    #[arg(value_name = "RUN", required = true, value_hint = ValueHint::DirPath)]
    pub(crate) runs: Vec<PathBuf>,

    /// Folder for curves and leadership, .svg and .png
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,

    /// Horizontal axis of the curves
    #[arg(long, value_enum, default_value_t)]
    pub(crate) x: HorizontalAxis,
}

/// What curves are drawn against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum HorizontalAxis {
    /// Epochs.
    #[default]
    Epoch,
    /// Time of training, without evaluation and saving.
    Time,
}

const REPORT_HELP: &str = "\
The page needs nothing else, neither scripts nor a network. Its links to the
tables of the runs are relative. Runs that differ only in their seeds are one
curve: their mean, with a band of one standard deviation.

--scores evaluates the last checkpoint of each run on its test data. The page
then has a confusion matrix, the scores of each class and, of images, the wrong
predictions of the highest probability as pictures.";

/// Arguments of `report`.
#[derive(Debug, Args)]
#[command(after_help = REPORT_HELP)]
pub(crate) struct ReportArgs {
    /// Folders of runs
    #[arg(value_name = "RUN", required = true, value_hint = ValueHint::DirPath)]
    pub(crate) runs: Vec<PathBuf>,

    /// File to write [default: report.html, in the folder of a single run]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,

    /// Also evaluate the networks: confusion matrix, scores of each class, wrong examples as pictures
    #[arg(long)]
    pub(crate) scores: bool,

    #[command(flatten)]
    pub(crate) data: DataFolder,

    /// The data set, if it has moved since the run, or other data, as in `eval`
    #[arg(long = "data", value_name = "PATH", value_hint = ValueHint::AnyPath, requires = "scores")]
    pub(crate) path: Option<PathBuf>,
}

const REPRODUCE_HELP: &str = "\
Targets:
  table1      test and training error of all methods
  table2      lfnn and lfnn-l with 10 % to 100 % leaders, MNIST and CIFAR-10
  table3      the same on Tiny ImageNet
  fig3a       one pass over permuted MNIST: accuracy against share of leaders
  fig3b       the four loss functions: accuracy against steps
  fig4        the four loss functions: the terms of the loss against steps
  fig5        how leaders and followers move, and the Vicsek model
  fig6        how often each worker leads
  supplement  the best leader of each unit; leaders against followers
  locality    which parameters each unit's gradient depends on, for all methods
  memory      memory and time of a step against depth, lfnn-l and bp

The command prints the plan and the expected time first. An interrupted command
continues when you run it again. OUT/runs holds the trainings, which targets
share. A folder for each target holds report.html, tables as CSV, results.json
and figures as SVG and PNG.";

/// Arguments of `reproduce`.
#[derive(Debug, Args)]
#[command(after_help = REPRODUCE_HELP)]
pub(crate) struct ReproduceArgs {
    /// What to reproduce
    pub(crate) target: String,

    /// How much to compute
    #[arg(long, value_enum, default_value_t)]
    pub(crate) scale: Scale,

    /// Only these recipes of a table [default: all whose data is present]
    #[arg(long = "recipe", value_name = "RECIPE")]
    pub(crate) recipes: Vec<String>,

    /// Train with the seeds 1 to N [default: 3]
    #[arg(long, value_name = "N", value_parser = seeds)]
    pub(crate) seeds: Option<usize>,

    #[command(flatten)]
    pub(crate) data: DataFolder,

    /// Folder for results [default: reproduction/SCALE]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,

    /// Concurrent trainings, which share the threads [default: one per thread]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) jobs: Option<usize>,

    /// Print the plan and the expected time, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Passes over the training images [default: the recipe's]
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
--config   YAML or JSON with the keys method, classes, network, leadership,
           training (only label_smoothing and class_weights matter), seed and
           input (channels, height, width).
--weights  every parameter and buffer, named as in a checkpoint, with or without
           the prefix `weights/`. Also `feedback/NAME`, a fixed matrix of fa and
           lg-fa (NAME: the weight it replaces) or of dfa (NAME: `unitN.output`);
           drawn from the seed if missing.
--batch    `images` (batch, channels, height, width), normalised, and `target`,
           with or without the prefix `batch/`.
--out      `logits`, `output.loss`, `unitN.errors`, `unitN.leaders`,
           `unitN.best`, `unitN.leader_loss`, `unitN.follower_loss`,
           `gradients/NAME`, `buffers/NAME` (running statistics after the step),
           `directions/NAME` (random directions of forward gradients, of a
           parameter or of a layer's output) and `feedback/NAME`. Directions do
           not depend on the weights.

Other tensors in --weights and --batch are ignored if their name contains `/`.";

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
Images are random bytes in the shape of the recipe's data set. Steps are timed in
blocks, and the table shows the median block and the quartiles. GFLOP/s counts
only the products of the layers. GB/s counts each tensor that an operation reads
or writes once. For comparison, the table shows the peak of this machine:
multiply-adds in registers, and copies that exceed the caches. A convolution
counts as if it were computed directly. Winograd's method needs fewer
operations, so its figure may exceed the peak.";

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = BENCH_HELP)]
pub(crate) struct BenchArgs {
    /// Data set, network and settings; see `lfnn-cli recipes` [default: mnist-s]
    #[arg(long, value_name = "NAME")]
    pub(crate) recipe: Option<String>,

    /// YAML file that overrides the recipe
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// The training method [default: lfnn-l]
    #[arg(long, value_name = "NAME")]
    pub(crate) method: Option<String>,

    /// Images per batch [default: the recipe's]
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,

    /// Precision on the GPU: f32, tf32, bf16 or f16; the CPU uses f32 [default: f32]
    #[arg(long, value_name = "NAME")]
    pub(crate) precision: Option<String>,

    /// Set any key of the configuration; may be given many times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,

    /// Seconds to measure, for training and for inference each
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Print what another program needs to do the same, as JSON; measure nothing
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) describe: bool,
}

const VERIFY_HELP: &str = "\
Files with a published checksum are compared with it. The images of `folder` and
`tiny-imagenet` have none, so each is decoded, as in training. `folder` needs
PATH; this checks my/images/train/CLASS/* and my/images/test/CLASS/*:

  lfnn-cli data verify folder my/images

Notes name what is not wrong but may be unexpected: ignored files, grey images.";

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
    /// List the data sets, their folders, and which are present
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
    /// Check every file of a data set, or of all that are present
    #[command(after_help = VERIFY_HELP)]
    Verify {
        /// The data set
        name: Option<String>,
        /// Folder of this data set, if it is not in the data folder
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
        Err(_) => Err("expected a whole number of at least 1".into()),
    }
}

/// From 1 to a limit; the message says why there is one.
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
        "four for each that this machine runs at once, or 64; more would only wait",
    )
}

fn streams(text: &str) -> Result<usize, String> {
    backend::streams(at_least_one(text)?)
}

/// Seeds of one figure: far more than any mean needs.
const MAX_SEEDS: usize = 1000;

fn seeds(text: &str) -> Result<usize, String> {
    up_to(text, MAX_SEEDS, "each seed is a full training")
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 3600.0 => Ok(number),
        _ => Err("expected a number of seconds above 0 and at most 3600".into()),
    }
}
