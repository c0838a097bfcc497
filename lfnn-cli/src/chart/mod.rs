//! Charts: a description as data, drawn as SVG, and as PNG from that very SVG.
//!
//! Figures are made to be printed: every series differs from the others by dashes, markers or hatching
//! and not by colour alone, axes carry their units, and room for labels is measured in the font in
//! which they are set.

mod draw;
mod legend;
mod marks;
mod raster;
mod scale;
mod stat;
mod style;
mod svg;

use std::path::Path;

use crate::files::write_whole;

pub(crate) use stat::Stat;
pub(crate) use svg::escape;

/// Panels beside and below one another, with one title and one legend.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// Above all panels.
    pub(crate) title: String,
    /// Row by row.
    pub(crate) panels: Vec<Panel>,
    /// Panels in a row.
    pub(crate) columns: usize,
}

/// One pair of axes and what is drawn on them.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// Above the panel; may be empty.
    pub(crate) title: String,
    /// The horizontal axis.
    pub(crate) x: Axis,
    /// The vertical axis.
    pub(crate) y: Axis,
    /// Drawn in this order.
    pub(crate) marks: Vec<Mark>,
    /// Width and height of the area inside the axes.
    pub(crate) size: (f64, f64),
}

impl Panel {
    /// A panel of these axes and marks.
    pub(crate) fn new(title: &str, x: Axis, y: Axis, marks: Vec<Mark>, size: (f64, f64)) -> Self {
        Self { title: title.into(), x, y, marks, size }
    }
}

/// An axis.
#[derive(Clone, Debug, Default)]
pub(crate) struct Axis {
    /// What it measures, with the unit.
    pub(crate) label: String,
    /// Its ends; found from the marks where not given.
    pub(crate) range: Option<(f64, f64)>,
    /// Whether equal distances are equal factors.
    pub(crate) log: bool,
    /// Whether it counts, so that numbers stand at whole ones alone.
    pub(crate) whole: bool,
    /// Where numbers stand, if chosen.
    pub(crate) ticks: Option<Vec<f64>>,
    /// Names of the positions 0, 1, 2, … in place of numbers.
    pub(crate) categories: Vec<String>,
}

impl Axis {
    /// An axis that measures what `label` says.
    pub(crate) fn new(label: &str) -> Self {
        Self { label: label.to_owned(), ..Self::default() }
    }

    /// The same axis with ends.
    pub(crate) fn range(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }

    /// The same axis with equal distances for equal factors.
    pub(crate) fn log(mut self) -> Self {
        self.log = true;
        self
    }

    /// The same axis for what is counted.
    pub(crate) fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// The same axis with numbers at these places.
    pub(crate) fn ticks(mut self, ticks: &[f64]) -> Self {
        self.ticks = Some(ticks.to_vec());
        self
    }

    /// An axis of names.
    pub(crate) fn names<T: ToString>(label: &str, names: &[T]) -> Self {
        let categories = names.iter().map(ToString::to_string).collect();
        Self { categories, ..Self::new(label) }
    }
}

/// A value with its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// Position on the horizontal axis.
    pub(crate) x: f64,
    /// Position on the vertical axis.
    pub(crate) y: f64,
    /// Half the length of the error bar; 0 for none.
    pub(crate) spread: f64,
}

impl Point {
    /// A value without an error bar.
    pub(crate) fn new(x: f64, y: f64) -> Self {
        Self { x, y, spread: 0.0 }
    }
}

/// What is drawn on a pair of axes.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// For the legend; may be empty.
    pub(crate) name: String,
    /// The number of its look.
    pub(crate) style: usize,
    /// What it is.
    pub(crate) shape: Shape,
}

impl Mark {
    /// A mark of a name and a look.
    pub(crate) fn new(name: impl Into<String>, style: usize, shape: Shape) -> Self {
        Self { name: name.into(), style, shape }
    }
}

/// Moves series with error bars a little beside one another: bars at the same place would hide each other.
pub(crate) fn dodge(mut marks: Vec<Mark>) -> Vec<Mark> {
    fn points(mark: &mut Mark) -> &mut [Point] {
        match &mut mark.shape {
            Shape::Line(points) | Shape::MarkedLine(points) | Shape::Points(points) => points,
            _ => &mut [],
        }
    }
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for point in marks.iter_mut().flat_map(points) {
        (low, high) = (low.min(point.x), high.max(point.x));
    }
    let has_bars = |mark: &mut &mut Mark| points(mark).iter().any(|point| point.spread > 0.0);
    let mut barred: Vec<&mut Mark> =
        marks.iter_mut().filter_map(|mut mark| has_bars(&mut mark).then_some(mark)).collect();
    let middle = (barred.len() as f64 - 1.0) / 2.0;
    for (at, mark) in barred.iter_mut().enumerate() {
        let shift = 0.014 * (high - low) * (at as f64 - middle);
        points(mark).iter_mut().for_each(|point| point.x += shift);
    }
    marks
}

/// The kinds of marks, with their values.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// Points joined by a line from left to right, with error bars where there is spread.
    Line(Vec<Point>),
    /// The same with a marker at each point.
    MarkedLine(Vec<Point>),
    /// Markers by themselves, in any order, with error bars where there is spread.
    Points(Vec<Point>),
    /// A horizontal line across the panel at this position.
    Level(f64),
    /// Bars from 0, beside the other series of bars, one per name of the horizontal axis: height and
    /// spread of each; none leaves a gap.
    Bars(Vec<Option<(f64, f64)>>),
    /// The area within the spread of these points.
    Band(Vec<Point>),
    /// Shares from 0 to 1 as darkness, without text, for matrices of any size. Rows run downwards and are numbered
    /// from 1; each column is `step` wide, and the first begins with number 1. None leaves a gap. The name says
    /// what they are shares of.
    Heat { step: f64, rows: Vec<Vec<Option<f64>>> },
    /// A matrix of cells. For each row downwards, for each column: darkness from 0 to 1, and the text.
    Cells(Vec<Vec<(f64, String)>>),
    /// Nothing between the axes: the legend names the cells of this darkness.
    Key(f64),
    /// Dots whose area and darkness grow with a share from 0 to 1: position and share of each. The name
    /// says what it is a share of.
    Dots(Vec<(f64, f64, f64)>),
    /// Arrows: start and end of each.
    Arrows(Vec<([f64; 2], [f64; 2])>),
}

impl Figure {
    /// The figure as an SVG document.
    pub(crate) fn svg(&self) -> String {
        draw::figure(self)
    }

    /// Writes `NAME.svg` and `NAME.png` into a folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        let svg = self.svg();
        write_whole(&folder.join(format!("{name}.svg")), svg.as_bytes())?;
        write_whole(&folder.join(format!("{name}.png")), &raster::png(&svg)?)
    }
}

#[cfg(test)]
mod tests;
