//! Lays a figure out and draws it: margins from the labels' own widths, so that none is cut.

use super::legend::Legend;
use super::marks;
use super::scale::{Scale, Which};
use super::style::hatchings;
use super::svg::{Anchor, INK, Svg, TEXT, number, width};
use super::{Figure, Panel, Shape};

const EDGE: f64 = 14.0;
const TITLE: f64 = 15.0;

/// Room around the area inside a panel's axes.
#[derive(Clone, Copy, Debug, Default)]
struct Margins {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Whether the names below the horizontal axis are turned.
    turned: bool,
}

/// The figure as an SVG document.
pub(super) fn figure(figure: &Figure) -> String {
    let columns = figure.columns.clamp(1, figure.panels.len().max(1));
    let margins: Vec<Margins> = figure.panels.iter().map(of_panel).collect();
    let rows = figure.panels.len().div_ceil(columns);
    let mut widths = vec![0.0f64; columns];
    let mut heights = vec![0.0f64; rows];
    let mut lefts = vec![0.0f64; columns];
    for (index, (panel, margin)) in figure.panels.iter().zip(&margins).enumerate() {
        let (row, column) = (index / columns, index % columns);
        lefts[column] = lefts[column].max(margin.left);
        widths[column] = widths[column].max(panel.size.0 + margin.right);
        heights[row] = heights[row].max(margin.top + panel.size.1 + margin.bottom);
    }
    let inner: f64 = widths.iter().zip(&lefts).map(|(wide, left)| wide + left).sum();
    let title = wrap(&figure.title, TITLE, inner.max(320.0));
    let legend = Legend::new(figure, inner.max(420.0));
    let title_width = title.iter().map(|line| 1.12 * width(line, TITLE)).fold(0.0, f64::max);
    let whole = inner.max(legend.width).max(title_width) + 2.0 * EDGE;
    let head = if figure.title.is_empty() { 0.0 } else { 21.0 * title.len() as f64 + 4.0 };

    let mut svg = Svg::default();
    for (number, line) in title.iter().enumerate() {
        let at = (whole / 2.0, EDGE + TITLE + 21.0 * number as f64 - 2.0);
        svg.text(at, line, TITLE, Anchor::Middle, "font-weight=\"bold\"");
    }
    let mut top = EDGE + head;
    for row in 0..rows {
        let mut left = (whole - inner) / 2.0;
        for column in 0..columns {
            let Some(panel) = figure.panels.get(row * columns + column) else { break };
            let margin = margins[row * columns + column];
            let origin = (left + lefts[column], top + margin.top);
            draw_panel(&mut svg, panel, margin, origin);
            left += lefts[column] + widths[column];
        }
        top += heights[row];
    }
    legend.draw(&mut svg, whole / 2.0, top + 2.0);
    svg.finish(whole, top + legend.height() + EDGE, &figure.title, &hatchings())
}

/// A text in lines that are not wider than `room`.
fn wrap(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if 1.12 * width(&format!("{line} {word}"), size) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn of_panel(panel: &Panel) -> Margins {
    let (wide, high) = panel.size;
    let x = Scale::new(panel, Which::X, 0.0, wide);
    let y = Scale::new(panel, Which::Y, high, 0.0);
    let label = |text: &str| if text.is_empty() { 0.0 } else { 20.0 };
    // Names that would touch are turned.
    let room = wide / x.ticks.len().max(1) as f64;
    let turned = !panel.x.categories.is_empty() && x.widest() > room - 4.0;
    let below = if turned { 0.72 * x.widest() + 16.0 } else { 22.0 };
    let last = x.ticks.last().map_or(0.0, |(at, text)| x.at(*at) + width(text, TEXT) / 2.0 - wide);
    let first = x.ticks.first().map_or(0.0, |(at, text)| width(text, TEXT) / 2.0 - x.at(*at));
    // A turned name runs to the left of its place, a long label to both sides of the panel.
    let overhang = if turned { 0.72 * x.widest() - room / 2.0 } else { first };
    let wide_label = (width(&panel.x.label, TEXT) - wide) / 2.0;
    let title_over = (width(&panel.title, TEXT + 1.0) - wide) / 2.0;
    let tall_label = (width(&panel.y.label, TEXT) - high) / 2.0;
    let sides = wide_label.max(title_over).max(0.0);
    Margins {
        left: (y.widest() + 12.0 + label(&panel.y.label)).max(overhang + 4.0).max(sides),
        right: last.max(sides).max(0.0) + 16.0,
        top: if panel.title.is_empty() { 8.0 } else { 26.0 } + tall_label.max(0.0),
        bottom: (below + label(&panel.x.label) + 8.0).max(tall_label),
        turned,
    }
}

fn draw_panel(svg: &mut Svg, panel: &Panel, margin: Margins, (left, top): (f64, f64)) {
    let (wide, high) = panel.size;
    let (right, bottom) = (left + wide, top + high);
    let x = Scale::new(panel, Which::X, left, right);
    // Rows of cells run downwards, every other vertical axis upwards.
    let downwards =
        panel.marks.iter().any(|mark| matches!(mark.shape, Shape::Cells(_) | Shape::Heat { .. }));
    let (from, to) = if downwards { (top, bottom) } else { (bottom, top) };
    let y = Scale::new(panel, Which::Y, from, to);
    let middle = (left + right) / 2.0;
    if !panel.title.is_empty() {
        svg.text((middle, top - 8.0), &panel.title, TEXT + 1.0, Anchor::Middle, "");
    }
    let grid = "stroke=\"#dddddd\" stroke-width=\"0.7\"";
    let tick = format!("stroke=\"{INK}\" stroke-width=\"1\"");
    for (value, text) in &y.ticks {
        let at = y.at(*value);
        if panel.y.categories.is_empty() {
            svg.line((left, at), (right, at), grid);
        }
        svg.line((left - 4.0, at), (left, at), &tick);
        svg.text((left - 7.0, at + 4.2), text, TEXT, Anchor::End, "");
    }
    for (value, text) in &x.ticks {
        let at = x.at(*value);
        if panel.x.categories.is_empty() {
            svg.line((at, top), (at, bottom), grid);
        }
        svg.line((at, bottom), (at, bottom + 4.0), &tick);
        if margin.turned {
            let place = (at + 3.0, bottom + 14.0);
            let look = format!("transform=\"rotate(-45 {} {})\"", number(place.0), number(place.1));
            svg.text(place, text, TEXT, Anchor::End, &look);
        } else {
            svg.text((at, bottom + 18.0), text, TEXT, Anchor::Middle, "");
        }
    }
    marks::all(svg, panel, &x, &y);
    svg.raw(&format!(
        "<rect x=\"{left:.2}\" y=\"{top:.2}\" width=\"{wide:.2}\" height=\"{high:.2}\" fill=\"none\" \
         stroke=\"{INK}\" stroke-width=\"1\"/>"
    ));
    if !panel.x.label.is_empty() {
        let at = (middle, bottom + margin.bottom - 12.0);
        svg.text(at, &panel.x.label, TEXT, Anchor::Middle, "");
    }
    if !panel.y.label.is_empty() {
        let at = (left - y.widest() - 16.0, (top + bottom) / 2.0);
        let look = format!("transform=\"rotate(-90 {:.2} {:.2})\"", at.0, at.1);
        svg.text(at, &panel.y.label, TEXT, Anchor::Middle, &look);
    }
}
