//! Which parts of an input meet in an output, and what else forward gradients must know of a layer.

/// Which parts of a layer's input an output depends on, in training: whether examples, positions and groups of
/// channels meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coupling {
    /// Whether an output depends on other examples than its own.
    pub examples: bool,
    /// Whether an output depends on other positions than its own. A vector has one position.
    pub positions: bool,
    /// Into how many even groups of consecutive channels the layer divides its channels, where no output depends on
    /// another group than its own; none where the layer does not let channels meet, and so does not divide them.
    pub groups: Option<usize>,
}

impl Coupling {
    /// Each output depends on the input in its place alone.
    pub const NOTHING: Self = Self { examples: false, positions: false, groups: None };

    /// An output depends on everything in its example.
    pub const EXAMPLE: Self = Self { examples: false, positions: true, groups: Some(1) };

    /// An output depends on its channel, at all positions.
    pub const POSITIONS: Self = Self { positions: true, ..Self::NOTHING };

    /// An output depends on the channels of its group, at its position.
    pub const fn groups(groups: usize) -> Self {
        Self { groups: Some(groups), ..Self::NOTHING }
    }

    /// What meets in either of two layers.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let groups = match (self.groups, other.groups) {
            // Two even divisions have the limits in common that their greatest common divisor has.
            (Some(a), Some(b)) => Some(greatest_common_divisor(a, b)),
            (a, b) => a.or(b),
        };
        Self {
            examples: self.examples || other.examples,
            positions: self.positions || other.positions,
            groups,
        }
    }

    /// What meets in any of several layers.
    pub fn of(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::NOTHING, Self::and)
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// What a layer is to the perturbation of the layer in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A layer without others inside.
    Plain,
    /// The output of the layer with weights in front of it is perturbed behind it, not before.
    Normalization,
    /// Its derivative is 0 or 1: where it is 0, so is the gradient of what it receives.
    Gate,
    /// A layer made of others, which perturb their own outputs.
    Composite,
}
