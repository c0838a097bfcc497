//! What a user decides: the network, which workers lead, and how the network is trained.
//!
//! These types carry serde attributes so that any format can hold them; the core reads none. Unknown
//! keys are errors. A setting is declared once, in the file of its type: its documentation, its
//! default, its range and its check. With the feature `schema` the types describe themselves as a JSON
//! schema, from which the command line generates its reference; so the documentation of fields and
//! variants is written for users.

mod augmentation;
mod build;
mod error;
mod leadership;
mod limits;
mod network;
mod optimizer;
mod range;
mod schedule;
mod size;
mod training;

pub use crate::layer::{
    AdaptiveAvgPoolConfig, AvgPoolConfig, BatchNormConfig, ConvConfig, CustomLayer, DropoutConfig,
    LayerConfig, LayerNormConfig, LinearConfig, MaxPoolConfig, PatchesConfig, PoolConfig,
    ResidualConfig, SoftmaxConfig, TokenMixingConfig,
};
pub use crate::unit::{
    BlockConfig, FiltersConfig, HeadConfig, NeuronsConfig, OutputActivation, ReadoutConfig,
    SimilarityConfig, WorkersConfig,
};
pub use augmentation::Augmentation;
pub use error::ConfigError;
pub use leadership::{LeadershipConfig, ReferenceConfig, Scope};
pub use limits::Limits;
pub use network::{NetworkConfig, OutputConfig, Task, UnitConfig};
pub use optimizer::{AdamConfig, OptimizerConfig};
pub use range::{Number, Range};
pub use schedule::ScheduleConfig;
pub use size::Size2;
pub(crate) use training::check_label_smoothing;
pub use training::{ClassWeightRule, ClassWeights, TrainingConfig};
