//! Ranges of numbers. A range serves the check of a setting and its JSON schema.

use std::fmt;

use super::ConfigError;

/// The numbers that a setting may have.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    low: f64,
    /// Whether `low` itself is allowed.
    from_low: bool,
    high: f64,
    /// Whether `high` itself is allowed.
    to_high: bool,
}

impl Range {
    /// Greater than 0.
    pub const fn positive() -> Self {
        Self { low: 0.0, from_low: false, high: f64::INFINITY, to_high: false }
    }

    /// This number or a greater one.
    pub const fn at_least(low: usize) -> Self {
        Self { low: low as f64, from_low: true, high: f64::INFINITY, to_high: false }
    }

    /// From 0 to below 1.
    pub const fn below_one() -> Self {
        Self { low: 0.0, from_low: true, high: 1.0, to_high: false }
    }

    /// This number or a smaller one as well.
    pub const fn at_most(self, high: usize) -> Self {
        Self { high: high as f64, to_high: true, ..self }
    }

    /// Checks a number.
    ///
    /// # Errors
    /// A number outside the range, or one that is not finite.
    pub fn check<N: Number>(self, path: &str, value: N) -> Result<(), ConfigError> {
        let number = value.to_f64();
        let fits_low = number > self.low || (self.from_low && number == self.low);
        let fits_high = number < self.high || (self.to_high && number == self.high);
        if fits_low && fits_high {
            return Ok(());
        }
        Err(ConfigError::new(path, format!("{value}, expected {self}")))
    }

    /// Checks a number if there is one.
    ///
    /// # Errors
    /// See [`Range::check`].
    pub fn check_some<N: Number>(self, path: &str, value: Option<N>) -> Result<(), ConfigError> {
        value.map_or(Ok(()), |value| self.check(path, value))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { low, from_low, high, to_high } = *self;
        match (from_low, high.is_finite()) {
            (true, _) => write!(f, "at least {low}")?,
            (false, true) => write!(f, "above {low}")?,
            (false, false) => write!(f, "a number above {low}")?,
        }
        match (high.is_finite(), to_high) {
            (false, _) => Ok(()),
            (true, true) => write!(f, " and at most {high}"),
            (true, false) => write!(f, " and below {high}"),
        }
    }
}

/// A number of a configuration.
pub trait Number: Copy + fmt::Display {
    /// The number, or the nearest that there is.
    fn to_f64(self) -> f64;
}

impl Number for f64 {
    fn to_f64(self) -> f64 {
        self
    }
}

impl Number for usize {
    fn to_f64(self) -> f64 {
        self as f64
    }
}

#[cfg(feature = "schema")]
/// The bounds are whole numbers.
impl schemars::transform::Transform for Range {
    /// Adds the range to the schema of a number, or of a list of numbers.
    fn transform(&mut self, schema: &mut schemars::Schema) {
        let object = schema.ensure_object();
        let Some(object) = (match object.contains_key("items") {
            true => object.get_mut("items").and_then(|items| items.as_object_mut()),
            false => Some(object),
        }) else {
            return;
        };
        object.remove("minimum");
        object.insert(
            if self.from_low { "minimum" } else { "exclusiveMinimum" }.into(),
            (self.low as u64).into(),
        );
        if self.high.is_finite() {
            object.insert(
                if self.to_high { "maximum" } else { "exclusiveMaximum" }.into(),
                (self.high as u64).into(),
            );
        }
    }
}
