//! The closed set of operations, and what each must say of itself.

use super::*;

/// What every operation says of itself.
pub trait Operation {
    /// The operation's name in messages and profiles.
    fn name(&self) -> &'static str;
    /// Tensors whose contents it uses and leaves alone.
    fn reads(&self) -> Vec<TensorId>;
    /// Tensors that it overwrites wholly, whatever they held.
    fn writes(&self) -> Vec<TensorId>;
    /// Tensors that it changes in place.
    fn updates(&self) -> Vec<TensorId>;
    /// Whether shapes and types fit together; the message says what does not.
    ///
    /// # Errors
    /// A sentence that names the tensor, its shape and what was expected.
    fn check(&self, tensors: &Tensors) -> Result<(), String>;
}

/// The ids in one field of an operation: one tensor, an optional one, or several.
pub(super) trait Ids {
    fn extend(&self, ids: &mut Vec<TensorId>);
}

impl Ids for TensorId {
    fn extend(&self, ids: &mut Vec<TensorId>) {
        ids.push(*self);
    }
}

impl Ids for Option<TensorId> {
    fn extend(&self, ids: &mut Vec<TensorId>) {
        ids.extend(self.iter());
    }
}

impl Ids for Vec<TensorId> {
    fn extend(&self, ids: &mut Vec<TensorId>) {
        ids.extend(self.iter());
    }
}

/// Declares an operation: its tensors by how it uses them, then its settings. The check is a
/// function `(operation, tensors) -> Result<(), String>` beside it.
macro_rules! operation {
    (
        $(#[$doc:meta])*
        $name:ident, check: $check:ident
        reads { $($(#[$rdoc:meta])* $read:ident: $rty:ty),* $(,)? }
        writes { $($(#[$wdoc:meta])* $write:ident: $wty:ty),* $(,)? }
        updates { $($(#[$udoc:meta])* $update:ident: $uty:ty),* $(,)? }
        with { $($(#[$sdoc:meta])* $setting:ident: $sty:ty),* $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$rdoc])* pub $read: $rty,)*
            $($(#[$wdoc])* pub $write: $wty,)*
            $($(#[$udoc])* pub $update: $uty,)*
            $($(#[$sdoc])* pub $setting: $sty,)*
        }

        impl crate::program::Operation for $name {
            fn name(&self) -> &'static str {
                stringify!($name)
            }
            #[allow(unused_mut, reason = "an operation may have no tensors of one use")]
            fn reads(&self) -> Vec<crate::program::TensorId> {
                let mut ids = Vec::new();
                $(crate::program::operation::Ids::extend(&self.$read, &mut ids);)*
                ids
            }
            #[allow(unused_mut, reason = "an operation may have no tensors of one use")]
            fn writes(&self) -> Vec<crate::program::TensorId> {
                let mut ids = Vec::new();
                $(crate::program::operation::Ids::extend(&self.$write, &mut ids);)*
                ids
            }
            #[allow(unused_mut, reason = "an operation may have no tensors of one use")]
            fn updates(&self) -> Vec<crate::program::TensorId> {
                let mut ids = Vec::new();
                $(crate::program::operation::Ids::extend(&self.$update, &mut ids);)*
                ids
            }
            fn check(&self, tensors: &crate::program::Tensors) -> Result<(), String> {
                $check(self, tensors)
            }
        }
    };
}

macro_rules! operations {
    ($($name:ident),* $(,)?) => {
        /// One operation of a program.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "each variant is documented at the type it holds")]
        pub enum Op {
            $($name($name),)*
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self {
                Op::$name(op)
            }
        })*

        impl Op {
            fn inner(&self) -> &dyn Operation {
                match self {
                    $(Op::$name(op) => op,)*
                }
            }
        }
    };
}

operations! {
    // the batch
    LoadImages, LoadLabels, LoadValues, AdvanceClock,
    // linear maps
    Linear, LinearInputGrad, LinearWeightGrad,
    Conv2d, Conv2dInputGrad, Conv2dWeightGrad,
    AddBias, BiasGrad,
    // pointwise
    Activate, ActivateGrad, Dropout, Add, Softmax, SoftmaxGrad,
    // pooling
    MaxPool, MaxPoolGrad, MaxPoolTangent, AvgPool, AvgPoolGrad, AdaptiveAvgPool, AdaptiveAvgPoolGrad,
    // normalisation
    BatchNorm, BatchNormInference, BatchNormGrad, BatchNormTangent,
    // layout
    Flatten, Unflatten, Concat, Split,
    // workers, leaders, losses
    FilterLogits, FilterLogitsGrad, WorkerLoss, MeanWorkerLoss, SelectLeaders, EpochLeaders,
    AlignmentTarget, LossGradient, LocalLossGradient, LocalLosses, MaskFollowers,
    // forward gradients
    Gaussian, InnerProduct,
    // metrics
    AccumulateRows, CountErrors,
    // optimisers
    ClipFactor, SgdStep, AdamStep,
}

impl Operation for Op {
    fn name(&self) -> &'static str {
        self.inner().name()
    }

    fn reads(&self) -> Vec<TensorId> {
        self.inner().reads()
    }

    fn writes(&self) -> Vec<TensorId> {
        self.inner().writes()
    }

    fn updates(&self) -> Vec<TensorId> {
        self.inner().updates()
    }

    fn check(&self, tensors: &Tensors) -> Result<(), String> {
        self.inner().check(tensors)
    }
}
