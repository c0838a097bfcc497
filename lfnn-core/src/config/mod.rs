//! What a user decides: the network, which workers lead, and how the network is trained.
//!
//! These types carry serde attributes so that any format can hold them; the core reads none. Unknown
//! keys are errors. Every number is checked when the network is built or the trainer made, with an
//! error that names the key.

mod error;
mod layer;
mod leadership;
mod network;
mod optimizer;
mod schedule;
mod training;
mod workers;

pub use error::ConfigError;
pub use layer::{BatchNormConfig, LayerConfig, PoolConfig};
pub use leadership::{AlignConfig, LeadershipConfig, ReductionConfig, ReferenceConfig, Scope};
pub use network::{NetworkConfig, OutputConfig, Task, UnitConfig};
pub use optimizer::{AdamConfig, OptimizerConfig};
pub use schedule::ScheduleConfig;
pub use training::TrainingConfig;
pub use workers::{OutputActivation, WorkersConfig};

fn one_usize() -> usize {
    1
}
