//! The legend: one entry for each name in the figure, in rows below the panels.

use super::marks::{arrow, dot, stroke};
use super::style::{bar, marker, shade, tint};
use super::svg::{Anchor, Svg, TEXT, width};
use super::{Figure, Mark, Shape};

const SAMPLE: f64 = 34.0;
const GAP: f64 = 18.0;
pub(super) const ROW: f64 = 19.0;

/// What is drawn before a name.
#[derive(Clone, Debug, PartialEq)]
enum Sample {
    Line(usize),
    MarkedLine(usize),
    Marker(usize),
    Bar(usize),
    Dot(f64),
    Band,
    Shade(f64),
    Arrow(usize),
}

/// Entries in rows.
#[derive(Debug)]
pub(super) struct Legend {
    rows: Vec<Vec<(Sample, String)>>,
    /// The width of the widest row.
    pub(super) width: f64,
}

impl Legend {
    /// The legend of a figure, in rows that are not wider than `room` where that can be.
    pub(super) fn new(figure: &Figure, room: f64) -> Self {
        let mut entries: Vec<(Sample, String)> = Vec::new();
        for mark in figure.panels.iter().flat_map(|panel| &panel.marks) {
            for entry in of_mark(mark) {
                if !entry.1.is_empty() && !entries.contains(&entry) {
                    entries.push(entry);
                }
            }
        }
        let (mut rows, mut widest, mut used) = (Vec::<Vec<_>>::new(), 0.0f64, f64::INFINITY);
        for entry in entries {
            let wide = entry_width(&entry.1);
            if used + wide > room || rows.is_empty() {
                rows.push(Vec::new());
                used = 0.0;
            }
            used += wide;
            widest = widest.max(used - GAP);
            if let Some(row) = rows.last_mut() {
                row.push(entry);
            }
        }
        Self { rows, width: widest }
    }

    /// The height of all rows.
    pub(super) fn height(&self) -> f64 {
        if self.rows.is_empty() { 0.0 } else { ROW * self.rows.len() as f64 + 6.0 }
    }

    /// Draws it with its middle at `center` and its upper edge at `top`.
    pub(super) fn draw(&self, svg: &mut Svg, center: f64, top: f64) {
        for (number, row) in self.rows.iter().enumerate() {
            let wide: f64 = row.iter().map(|(_, name)| entry_width(name)).sum::<f64>() - GAP;
            let mut left = center - wide / 2.0;
            let y = top + ROW * (number as f64 + 0.5);
            for (sample, name) in row {
                draw_sample(svg, sample, left, y);
                svg.text((left + SAMPLE + 6.0, y + 4.2), name, TEXT, Anchor::Start, "");
                left += entry_width(name);
            }
        }
    }
}

fn entry_width(name: &str) -> f64 {
    SAMPLE + 6.0 + width(name, TEXT) + GAP
}

fn of_mark(Mark { name, style, shape }: &Mark) -> Vec<(Sample, String)> {
    let sample = match shape {
        Shape::Line(_) | Shape::Level(_) => Sample::Line,
        Shape::MarkedLine(_) => Sample::MarkedLine,
        Shape::Points(_) => Sample::Marker,
        Shape::Bars(_) => Sample::Bar,
        Shape::Arrows(_) => Sample::Arrow,
        Shape::Band(_) => return vec![(Sample::Band, name.clone())],
        Shape::Dots(_) => return shares(Sample::Dot, name),
        Shape::Heat { .. } => return shares(Sample::Shade, name),
        Shape::Key(share) => return vec![(Sample::Shade(*share), name.clone())],
        Shape::Cells(_) => return Vec::new(),
    };
    vec![(sample(*style), name.clone())]
}

/// How some shares look, and what they are shares of.
fn shares(sample: fn(f64) -> Sample, name: &str) -> Vec<(Sample, String)> {
    let entry = |share| (sample(share), format!("{:.0} % {name}", 100.0 * share));
    [0.0, 0.25, 0.5, 1.0].map(entry).to_vec()
}

fn draw_sample(svg: &mut Svg, sample: &Sample, left: f64, y: f64) {
    let middle = left + SAMPLE / 2.0;
    match *sample {
        Sample::Line(style) => svg.line((left, y), (left + SAMPLE, y), &stroke(style)),
        Sample::MarkedLine(style) => {
            svg.line((left, y), (left + SAMPLE, y), &stroke(style));
            marker(svg, style, middle, y);
        }
        Sample::Marker(style) => marker(svg, style, middle, y),
        Sample::Bar(style) => svg.rect((left + 8.0, y - 5.5), (22.0, 11.0), &bar(style)),
        Sample::Dot(share) => dot(svg, (left + SAMPLE - 9.0, y), share),
        Sample::Band => svg.rect((left + 4.0, y - 5.5), (26.0, 11.0), &tint(0)),
        Sample::Shade(share) => {
            let look = format!("fill=\"{}\" stroke=\"#bbbbbb\" stroke-width=\"0.7\"", shade(share));
            svg.rect((left + 14.0, y - 6.0), (SAMPLE - 14.0, 12.0), &look);
        }
        Sample::Arrow(style) => arrow(svg, style, (left + 4.0, y), (left + SAMPLE - 2.0, y)),
    }
}
