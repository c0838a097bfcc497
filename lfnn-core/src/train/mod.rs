//! Training and evaluation of a network on any backend.
//!
//! The trainer builds the programs of a network and a method, fills the tensors, and runs one program
//! per batch. Between steps it copies nothing from the device; metrics are read when asked for. It
//! knows no files and no threads: its caller saves its [`State`] and shows its metrics.

mod data;
mod early_exit;
mod error;
mod evaluation;
mod fit;
mod prediction_program;
mod predictor;
mod selection;
mod setup;
mod state;
mod trace;
mod trainer;
mod transfer;

pub(crate) use data::check_labels;
pub use data::{DataLayout, Images, Labels, Normalization, Pixels};
pub use early_exit::{EarlyExit, EarlyPredictions, ExitPoint};
pub use error::TrainError;
pub use evaluation::{EvaluationPlan, Evaluator};
pub use fit::EpochReport;
pub use prediction_program::PredictionProgram;
pub use predictor::Predictor;
pub use selection::Selection;
pub use setup::{MemoryEstimate, Setup, SetupError, StepProgram};
pub use state::{State, StateData, StateTensor};
pub use trace::{StepTrace, Target, TraceInput, UnitTrace, trace_step};
pub use trainer::{ProfiledStep, Trainer, trainer_programs};
pub use transfer::{LoadedWeights, Matching, ShapeMismatch};
