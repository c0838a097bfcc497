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
    /// Which of its tensors are activations or their gradients: those that a backend may store in
    /// half precision. Its other real tensors are always single precision.
    fn activations(&self) -> Vec<TensorId>;
    /// The least arithmetic and memory traffic that it takes, whatever the backend.
    fn cost(&self, tensors: &Tensors) -> Cost;
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

/// The ids in some fields of an operation.
macro_rules! ids {
    ($op:ident, $($field:ident)*) => {{
        #[allow(unused_mut, reason = "an operation may have no tensors of one use")]
        let mut ids = Vec::new();
        $(crate::program::operation::Ids::extend(&$op.$field, &mut ids);)*
        ids
    }};
}

/// Declares an operation: its tensors by how it uses them, then its settings. The check is a
/// function `(operation, tensors) -> Result<(), String>` beside it. Further clauses say what holds
/// for some operations only:
///
/// * `activations { x, y }`: see [`Operation::activations`].
/// * `product { result by weight }`: every row of one tensor meets every element of another.
/// * `gathers { batch from table }`: of the table only what makes the batch is read.
macro_rules! operation {
    (
        $(#[$doc:meta])*
        $name:ident, check: $check:ident
        reads { $($(#[$rdoc:meta])* $read:ident: $rty:ty),* $(,)? }
        writes { $($(#[$wdoc:meta])* $write:ident: $wty:ty),* $(,)? }
        updates { $($(#[$udoc:meta])* $update:ident: $uty:ty),* $(,)? }
        with { $($(#[$sdoc:meta])* $setting:ident: $sty:ty),* $(,)? }
        $(activations { $($activation:ident),* })?
        $(product { $result:ident by $weight:ident })?
        $(gathers { $batch:ident from $table:ident })?
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
            fn reads(&self) -> Vec<crate::program::TensorId> {
                ids!(self, $($read)*)
            }
            fn writes(&self) -> Vec<crate::program::TensorId> {
                ids!(self, $($write)*)
            }
            fn updates(&self) -> Vec<crate::program::TensorId> {
                ids!(self, $($update)*)
            }
            fn activations(&self) -> Vec<crate::program::TensorId> {
                ids!(self, $($($activation)*)?)
            }
            fn cost(&self, tensors: &crate::program::Tensors) -> crate::program::Cost {
                let cost = crate::program::Cost::of_tensors(self, tensors);
                $(let cost = cost.with_product(tensors, self.$result, self.$weight);)?
                $(let cost = cost.with_gather(tensors, self.$batch, self.$table);)?
                cost
            }
            fn check(&self, tensors: &crate::program::Tensors) -> Result<(), String> {
                $check(self, tensors)
            }
        }
    };
}

/// Makes [`Op`] and [`with_operation!`](crate::with_operation) of the list of operations. `$d` is a
/// dollar sign, for the macro that this macro declares.
macro_rules! operations {
    ($d:tt $($name:ident),* $(,)?) => {
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

        /// Evaluates an expression with the operation inside an [`Op`](crate::program::Op), whatever its
        /// type. The types of all operations must have what the expression uses: a backend
        /// implements a trait of its own for each, beside the kernel.
        ///
        /// ```
        /// use lfnn_core::program::{Op, Operation, Tensors};
        ///
        /// fn flops(op: &Op, tensors: &Tensors) -> u64 {
        ///     lfnn_core::with_operation!(op, op => op.cost(tensors).flops)
        /// }
        /// ```
        #[macro_export]
        macro_rules! with_operation {
            ($d op:expr, $d inner:ident => $d value:expr) => {
                match $d op {
                    $($d crate::program::Op::$name($d inner) => $d value,)*
                }
            };
        }

        impl Op {
            fn inner(&self) -> &dyn Operation {
                match self {
                    $(Op::$name(op) => op,)*
                }
            }
        }
    };
}

operations! { $
    // the batch
    LoadImages, LoadLabels, LoadValues, AdvanceStepCounter,
    // linear maps
    Linear, LinearInputGrad, LinearWeightGrad,
    Conv2d, Conv2dInputGrad, Conv2dWeightGrad,
    AddBias, BiasGrad, ScaleGrad,
    // pointwise
    Activate, ActivateGrad, Dropout, Add, Softmax, SoftmaxGrad,
    // pooling
    MaxPool, MaxPoolGrad, MaxPoolTangent, AvgPool, AvgPoolGrad, AdaptiveAvgPool, AdaptiveAvgPoolGrad,
    // normalisation
    BatchNorm, BatchNormInference, BatchNormGrad, BatchNormTangent, LayerNorm, LayerNormGrad,
    // layout
    SwapAxes, Concat, Split,
    // workers, leaders, losses
    FilterLogits, FilterLogitsGrad, WorkerLoss, MeanWorkerLoss, SelectLeaders, EpochLeaders,
    AlignmentTarget, LossGradient, LocalLossGradient, LocalLosses, MaskFollowers,
    // similarity matching
    Deviation, DeviationGrad, DeviationTangent, NormalizeRows, NormalizeRowsGrad, SimilarityLoss,
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

    fn activations(&self) -> Vec<TensorId> {
        self.inner().activations()
    }

    fn cost(&self, tensors: &Tensors) -> Cost {
        self.inner().cost(tensors)
    }

    fn check(&self, tensors: &Tensors) -> Result<(), String> {
        self.inner().check(tensors)
    }
}
