//! Which workers lead, and how the local losses are made.

use serde::{Deserialize, Serialize};

/// Who leads, and how the local losses are made (paper, Section 2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeadershipConfig {
    /// δ: the fraction of a unit's workers that lead, above 0 and at most 1.
    pub delta: f64,
    /// When leaders are chosen.
    pub scope: Scope,
    /// Sum or mean over workers.
    pub reduction: ReductionConfig,
    /// What followers align.
    pub align: AlignConfig,
    /// With which leader they align it.
    pub reference: ReferenceConfig,
    /// λ: weight of the follower loss in `lfnn-l` (Eq. 2).
    pub lambda: f64,
    /// λ₁: weight of the leader loss in `lfnn` (Eq. 1).
    pub lambda1: f64,
    /// λ₂: weight of the follower loss in `lfnn` (Eq. 1).
    pub lambda2: f64,
    /// Whether in `lfnn` the global gradient passes through followers to earlier units (it never
    /// updates them).
    pub gradient_through_followers: bool,
}

impl Default for LeadershipConfig {
    fn default() -> Self {
        Self {
            delta: 0.7,
            scope: Scope::Batch,
            reduction: ReductionConfig::Sum,
            align: AlignConfig::Output,
            reference: ReferenceConfig::Best,
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
}

/// When leaders are chosen, and by which losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// In every batch, by its mean losses.
    Batch,
    /// Once per epoch, by the mean losses of the epoch before (in the first, by its first batch).
    Epoch,
    /// For every sample, by its own losses.
    Sample,
}

/// See [`Reduction`](crate::program::Reduction).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "documented at the type it stands for")]
pub enum ReductionConfig {
    Sum,
    Mean,
}

/// See [`Align`](crate::program::Align).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "documented at the type it stands for")]
pub enum AlignConfig {
    Output,
    Logits,
}

/// See [`Reference`](crate::program::Reference).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "documented at the type it stands for")]
pub enum ReferenceConfig {
    Best,
    Random,
    Mean,
}
