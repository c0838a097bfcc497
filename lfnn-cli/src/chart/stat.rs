//! Mean and spread of some values.

use super::Point;

/// Mean, standard deviation and number of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stat {
    pub(crate) mean: f64,
    /// Of the sample; none of one value.
    pub(crate) deviation: Option<f64>,
}

impl Stat {
    /// None of no values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / count)?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Some(Self { mean, deviation })
    }

    /// The mean, and the deviation or 0: height and error bar of a bar.
    pub(crate) fn bar(self) -> (f64, f64) {
        (self.mean, self.deviation.unwrap_or(0.0))
    }

    /// The mean with an error bar, at a place of the horizontal axis.
    pub(crate) fn point(self, x: f64) -> Point {
        Point { x, y: self.mean, spread: self.bar().1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_of_a_sample() {
        let stat = Stat::of(&[1.0, 2.0, 6.0]).unwrap();
        assert_eq!(stat.mean, 3.0);
        assert!((stat.deviation.unwrap() - 7f64.sqrt()).abs() < 1e-12);
        assert_eq!(Stat::of(&[4.0]), Some(Stat { mean: 4.0, deviation: None }));
        assert_eq!(Stat::of(&[]), None);
    }
}
