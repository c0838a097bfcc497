//! From values to positions: ranges, ticks and their numbers.

use super::svg::{TEXT, width};
use super::{Axis, Panel, Shape};

/// An axis with its ends and the length that it has on paper.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    log: bool,
    /// Position of the lower end.
    pub(super) from: f64,
    /// Position of the upper end.
    pub(super) to: f64,
    /// Where ticks stand, with their labels.
    pub(super) ticks: Vec<(f64, String)>,
}

/// Which of a panel's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    X,
    Y,
}

impl Scale {
    /// The scale of a panel's axis between two positions.
    pub(super) fn new(panel: &Panel, which: Which, from: f64, to: f64) -> Self {
        let axis = if which == Which::X { &panel.x } else { &panel.y };
        let log = axis.log && axis.categories.is_empty();
        let (low, high) = ends(axis, panel, which, log);
        // Numbers beside one another need more room than numbers below one another.
        let spacing = if which == Which::X { 60.0 } else { 42.0 };
        let ticks = ticks(axis, (low, high), log, (to - from).abs(), spacing);
        Self { low, high, log, from, to, ticks }
    }

    /// The width of the widest label.
    pub(super) fn widest(&self) -> f64 {
        self.ticks.iter().map(|(_, text)| width(text, TEXT)).fold(0.0, f64::max)
    }

    /// The position of a value.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(1e-300) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        // What lies outside is drawn at the edge of the paper, not beyond the reach of numbers.
        self.from + share.clamp(-1.0, 2.0) * (self.to - self.from)
    }

    /// The position of a value, or of the end beyond which it lies.
    pub(super) fn within(&self, value: f64) -> f64 {
        self.at(value).clamp(self.from.min(self.to), self.from.max(self.to))
    }
}

/// The ends of an axis: those given, those of its names, or those of the marks with some room.
fn ends(axis: &Axis, panel: &Panel, which: Which, log: bool) -> (f64, f64) {
    if let Some((low, high)) = axis.range {
        return if low < high { (low, high) } else { (low - 0.5, low + 0.5) };
    }
    if !axis.categories.is_empty() {
        return (-0.5, axis.categories.len() as f64 - 0.5);
    }
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut see = |value: f64| {
        if value.is_finite() && (!log || value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
    };
    panel.marks.iter().for_each(|mark| values(&mark.shape, which, &mut see));
    if low > high {
        return if log { (1.0, 10.0) } else { (0.0, 1.0) };
    }
    if log {
        let room = (high / low).max(1.2).powf(0.05);
        let (low, high) = (low / room, high * room);
        // With one or two ticks inside, its ends are needed to read it.
        return if log_ticks(low, high).len() < 3 { widened(low, high) } else { (low, high) };
    }
    let extent = if high > low { high - low } else { high.abs().max(1.0) };
    let room = 0.05 * extent;
    // An axis that comes near to 0 begins there, unless it counts from 1.
    let bottom = if low >= 0.0 && low < 0.3 * high && !axis.whole { 0.0 } else { low - room };
    let top = if high <= 0.0 && high > 0.3 * low { 0.0 } else { high + room };
    (bottom, top)
}

/// Calls `see` with every value that a mark has on an axis.
fn values(shape: &Shape, which: Which, see: &mut dyn FnMut(f64)) {
    let x = which == Which::X;
    match shape {
        Shape::Line(points)
        | Shape::MarkedLine(points)
        | Shape::Points(points)
        | Shape::Band(points)
            if x =>
        {
            points.iter().for_each(|point| see(point.x));
        }
        Shape::Line(points)
        | Shape::MarkedLine(points)
        | Shape::Points(points)
        | Shape::Band(points) => {
            points.iter().for_each(|point| see(point.y - point.spread));
            points.iter().for_each(|point| see(point.y + point.spread));
        }
        Shape::Level(y) if !x => see(*y),
        Shape::Bars(values) if !x => {
            see(0.0);
            values.iter().flatten().for_each(|(value, spread)| see(value + spread));
        }
        Shape::Dots(dots) => dots.iter().for_each(|dot| see(if x { dot.0 } else { dot.1 })),
        Shape::Arrows(arrows) => {
            let axis = usize::from(!x);
            arrows.iter().flat_map(|(start, end)| [start[axis], end[axis]]).for_each(see);
        }
        Shape::Heat { step, rows } => {
            let columns = rows.iter().map(Vec::len).max().unwrap_or(0) as f64;
            see(0.5);
            see(0.5 + if x { step * columns } else { rows.len() as f64 });
        }
        Shape::Level(_) | Shape::Bars(_) | Shape::Cells(_) | Shape::Key(_) => {}
    }
}

fn ticks(
    axis: &Axis,
    (low, high): (f64, f64),
    log: bool,
    length: f64,
    spacing: f64,
) -> Vec<(f64, String)> {
    if !axis.categories.is_empty() {
        let names = axis.categories.iter().enumerate();
        return names.map(|(at, name)| (at as f64, name.clone())).collect();
    }
    let within =
        |value: &f64| *value >= low - 1e-9 * low.abs() && *value <= high + 1e-9 * high.abs();
    if let Some(ticks) = &axis.ticks {
        let digits = ticks.iter().map(|&tick| digits_of(tick)).max().unwrap_or(0);
        return ticks.iter().filter(|t| within(t)).map(|&t| (t, label(t, digits))).collect();
    }
    if log {
        return log_ticks(low, high);
    }
    let mut step = nice_step((high - low) / (length / spacing).clamp(3.0, 8.0));
    if axis.whole {
        step = if step == 2.5 { 5.0 } else { step.max(1.0) };
    }
    let digits = digits_of(step);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|n| n as f64 * step).map(|tick| (tick, label(tick, digits))).collect()
}

/// The next ticks outside of a logarithmic axis.
fn widened(low: f64, high: f64) -> (f64, f64) {
    let around: Vec<f64> =
        log_ticks(low / 10.0, high * 10.0).into_iter().map(|(tick, _)| tick).collect();
    let below = around.iter().rev().find(|&&tick| tick <= low);
    let above = around.iter().find(|&&tick| tick >= high);
    (below.copied().unwrap_or(low), above.copied().unwrap_or(high))
}

/// Powers of ten, with 2 and 5 times them where there are few.
fn log_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let decades = (high / low).log10();
    let factors: &[f64] = if decades > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let mut ticks = Vec::new();
    for exponent in low.log10().floor() as i32..=high.log10().ceil() as i32 {
        for factor in factors {
            let tick = factor * 10f64.powi(exponent);
            if tick >= low && tick <= high {
                ticks.push((tick, label(tick, digits_of(tick))));
            }
        }
    }
    ticks
}

/// The next of 1, 2, 2.5 and 5 times a power of ten.
fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.max(1e-12).log10().floor());
    let share = rough / power;
    let nice = [1.0, 2.0, 2.5, 5.0].into_iter().find(|&nice| share <= nice * (1.0 + 1e-9));
    nice.unwrap_or(10.0) * power
}

/// Digits after the point that a number needs, at most 6.
fn digits_of(value: f64) -> usize {
    (0..6)
        .find(|&digits| {
            let scaled = value * 10f64.powi(digits as i32);
            (scaled - scaled.round()).abs() < 1e-6 * scaled.abs().max(1.0)
        })
        .unwrap_or(6)
}

/// A number with separators between thousands and a true minus sign.
fn label(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    let (whole, rest) = text.split_once('.').map_or((&*text, ""), |(whole, rest)| (whole, rest));
    let whole = match whole.parse::<usize>() {
        Ok(whole) => crate::format::count(whole),
        Err(_) => whole.to_owned(),
    };
    let sign =
        if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "−" } else { "" };
    if rest.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_numbers_not_below_what_was_asked_for() {
        for (rough, nice) in
            [(0.13, 0.2), (1.0, 1.0), (2.1, 2.5), (3.0, 5.0), (7.0, 10.0), (0.0009, 0.001)]
        {
            assert!((nice_step(rough) - nice).abs() < 1e-9 * nice, "{rough}: {}", nice_step(rough));
        }
    }

    #[test]
    fn a_logarithmic_axis_with_few_ticks_ends_at_ticks() {
        for (low, high, ends) in
            [(11.0, 83.0, (10.0, 100.0)), (0.021, 0.022, (0.02, 0.05)), (2.0, 5.0, (2.0, 5.0))]
        {
            assert_eq!(widened(low, high), ends);
            let ticks = log_ticks(ends.0, ends.1);
            assert_eq!((ticks[0].0, ticks[ticks.len() - 1].0), ends);
        }
    }

    #[test]
    fn what_is_counted_has_whole_numbers() {
        for (high, expected) in [(2.0, vec![1.0, 2.0]), (12.0, vec![5.0, 10.0])] {
            let axis = Axis::new("epoch").whole();
            let found = ticks(&axis, (1.0, high), false, 300.0, 60.0);
            assert_eq!(found.iter().map(|tick| tick.0).collect::<Vec<_>>(), expected);
            assert!(found.iter().all(|tick| !tick.1.contains('.')));
        }
    }

    #[test]
    fn numbers_have_the_digits_they_need() {
        assert_eq!(label(1234567.0, 0), "1,234,567");
        assert_eq!(label(-2.5, digits_of(2.5)), "−2.5");
        assert_eq!(label(-0.0, 1), "0.0");
        assert_eq!((digits_of(0.25), digits_of(50.0), digits_of(1e-4)), (2, 0, 4));
    }
}
