//! Which workers lead, and how the local losses are made.

use serde::{Deserialize, Serialize};

use super::{ConfigError, Range};
use crate::program::{Align, FollowerLoss, Reduction, Temperature};

const DELTA: Range = Range::positive().at_most(1);
const WEIGHT: Range = Range::at_least(0);
const SHARE: Range = Range::at_least(0).at_most(1);
const TEMPERATURE: Range = Range::at_least(1).at_most(1000);

/// Which workers lead, and how the local losses are made (paper, Section 2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LeadershipConfig {
    /// δ: fraction of a unit's workers that lead.
    #[cfg_attr(feature = "schema", schemars(transform = { DELTA }))]
    pub delta: f64,
    /// When leaders are selected, and by which losses.
    pub scope: Scope,
    /// How the losses of several workers become one. Applies to `lg-…` methods too.
    pub reduction: Reduction,
    /// What followers match.
    pub align: Align,
    /// Which leader followers match.
    pub reference: ReferenceConfig,
    /// Share of the loss on the targets in a follower's loss: 0 is the paper's rule, with 1 followers
    /// learn as leaders do.
    #[cfg_attr(feature = "schema", schemars(transform = { SHARE }))]
    pub follower_labels: f64,
    /// λ: weight of the follower loss in `lfnn-l` (Eq. 2).
    #[cfg_attr(feature = "schema", schemars(transform = { WEIGHT }))]
    pub lambda: f64,
    /// λ₁: weight of the leader loss in `lfnn` (Eq. 1).
    #[cfg_attr(feature = "schema", schemars(transform = { WEIGHT }))]
    pub lambda1: f64,
    /// λ₂: weight of the follower loss in `lfnn` (Eq. 1).
    #[cfg_attr(feature = "schema", schemars(transform = { WEIGHT }))]
    pub lambda2: f64,
    /// Whether in `lfnn` the global gradient passes through followers to earlier units. It never
    /// updates followers.
    pub gradient_through_followers: bool,
}

impl Default for LeadershipConfig {
    fn default() -> Self {
        Self {
            delta: 0.7,
            scope: Scope::Batch,
            reduction: Reduction::Sum,
            align: Align::Output,
            reference: ReferenceConfig::Best,
            follower_labels: 0.0,
            lambda: 1.0,
            lambda1: 1.0,
            lambda2: 1.0,
            gradient_through_followers: false,
        }
    }
}

impl LeadershipConfig {
    /// k: how many of `workers` lead, `clamp(⌊δ·N + 1/2⌋, 1, N)`.
    pub fn leaders(&self, workers: usize) -> usize {
        ((self.delta * workers as f64 + 0.5).floor() as usize).clamp(1, workers.max(1))
    }

    /// The loss of one follower.
    pub(crate) fn follower(&self) -> FollowerLoss {
        FollowerLoss { align: self.align, labels: self.follower_labels }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// A number out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        DELTA.check("leadership.delta", self.delta)?;
        if let Align::Kl(Temperature { temperature }) = self.align {
            TEMPERATURE.check("leadership.align.kl.temperature", temperature)?;
        }
        SHARE.check("leadership.follower_labels", self.follower_labels)?;
        WEIGHT.check("leadership.lambda", self.lambda)?;
        WEIGHT.check("leadership.lambda1", self.lambda1)?;
        WEIGHT.check("leadership.lambda2", self.lambda2)
    }
}

/// When leaders are selected, and by which losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// In every batch, by its mean losses.
    Batch,
    /// Once per epoch, by the mean losses of the previous epoch; in the first epoch by its first batch.
    Epoch,
    /// For every sample, by its own losses.
    Sample,
}

/// Which leader followers match. See [`Reference`](crate::program::Reference).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReferenceConfig {
    /// The leader with the lowest loss (the paper's choice).
    Best,
    /// A leader drawn at random.
    Random,
    /// The mean over the leaders.
    Mean,
}
