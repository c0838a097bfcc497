//! The marks inside a pair of axes.

use super::scale::Scale;
use super::style::{bar, color, dash, marker, shade, tint};
use super::svg::{Anchor, INK, Svg, number, width};
use super::{Mark, Panel, Point, Shape};

/// Draws all marks of a panel.
pub(super) fn all(svg: &mut Svg, panel: &Panel, x: &Scale, y: &Scale) {
    let is_bars = |mark: &&Mark| matches!(mark.shape, Shape::Bars(_));
    let groups = panel.marks.iter().filter(is_bars).count();
    let mut group = 0;
    for Mark { style, shape, .. } in &panel.marks {
        let style = *style;
        match shape {
            Shape::Line(points) => line(svg, (x, y), style, points, false),
            Shape::MarkedLine(points) => line(svg, (x, y), style, points, true),
            Shape::Points(points) => self::points(svg, (x, y), style, points, true),
            Shape::Level(level) => {
                let at = y.at(*level);
                svg.line((x.from, at), (x.to, at), &stroke(style));
            }
            Shape::Bars(values) => {
                bars(svg, (x, y), style, values, (group, groups));
                group += 1;
            }
            Shape::Band(points) => band(svg, (x, y), style, points),
            Shape::Heat { step, rows } => heat(svg, (x, y), *step, rows),
            Shape::Key(_) => {}
            Shape::Cells(rows) => cells(svg, (x, y), rows),
            Shape::Dots(dots) => {
                dots.iter().for_each(|&(at, up, share)| dot(svg, (x.at(at), y.at(up)), share));
            }
            Shape::Arrows(arrows) => {
                let at = |point: &[f64; 2]| (x.at(point[0]), y.at(point[1]));
                arrows.iter().for_each(|(start, end)| arrow(svg, style, at(start), at(end)));
            }
        }
    }
}

/// The attributes of a line of a style.
pub(super) fn stroke(style: usize) -> String {
    format!("stroke=\"{}\" stroke-width=\"1.6\" fill=\"none\"{}", color(style), dash(style))
}

fn line(svg: &mut Svg, (x, y): (&Scale, &Scale), style: usize, points: &[Point], markers: bool) {
    let finite = points.iter().filter(|point| point.y.is_finite());
    let places: Vec<_> = finite.map(|point| (x.at(point.x), y.at(point.y))).collect();
    if places.len() > 1 {
        let look = format!("stroke-linejoin=\"round\" {}", stroke(style));
        svg.corners("polyline", &places, &look);
    }
    self::points(svg, (x, y), style, points, markers);
}

/// Error bars and markers of points.
fn points(svg: &mut Svg, (x, y): (&Scale, &Scale), style: usize, points: &[Point], markers: bool) {
    for point in points.iter().filter(|point| point.y.is_finite()) {
        let at = x.at(point.x);
        if point.spread > 0.0 {
            error_bar(svg, at, y.at(point.y - point.spread), y.at(point.y + point.spread), style);
        }
        if markers {
            marker(svg, style, at, y.at(point.y));
        }
    }
}

fn error_bar(svg: &mut Svg, at: f64, low: f64, high: f64, style: usize) {
    let look = format!("stroke=\"{}\" stroke-width=\"1\"", color(style));
    svg.line((at, low), (at, high), &look);
    for end in [low, high] {
        svg.line((at - 3.0, end), (at + 3.0, end), &look);
    }
}

fn bars(
    svg: &mut Svg,
    (x, y): (&Scale, &Scale),
    style: usize,
    values: &[Option<(f64, f64)>],
    (group, groups): (usize, usize),
) {
    let place = x.at(1.0) - x.at(0.0);
    let thick = 0.8 * place / groups as f64;
    for (index, value) in values.iter().enumerate() {
        let Some((value, spread)) = *value else { continue };
        let left = x.at(index as f64) + thick * (group as f64 - groups as f64 / 2.0);
        let (top, bottom) = (y.at(value).min(y.at(0.0)), y.at(value).max(y.at(0.0)));
        let size = ((thick - 1.0).max(1.0), (bottom - top).max(0.5));
        svg.rect((left + 0.5, top), size, &bar(style));
        if spread > 0.0 {
            error_bar(svg, left + thick / 2.0, y.at(value - spread), y.at(value + spread), 0);
        }
    }
}

fn cells(svg: &mut Svg, (x, y): (&Scale, &Scale), rows: &[Vec<(f64, String)>]) {
    for (row, cells) in rows.iter().enumerate() {
        for (column, (share, text)) in cells.iter().enumerate() {
            let (left, right) = (x.at(column as f64 - 0.5), x.at(column as f64 + 0.5));
            // Rows run downwards: the axis is turned.
            let (top, bottom) = (y.at(row as f64 - 0.5), y.at(row as f64 + 0.5));
            let (top, bottom) = (top.min(bottom), top.max(bottom));
            let look =
                format!("fill=\"{}\" stroke=\"#bbbbbb\" stroke-width=\"0.7\"", shade(*share));
            svg.rect((left, top), (right - left, bottom - top), &look);
            let ink = if *share > 0.5 { "#ffffff" } else { INK };
            let room = right - left - 4.0;
            let size = (11.0 * (room / width(text, 11.0).max(1e-9)).min(1.0)).max(6.0);
            let at = ((left + right) / 2.0, (top + bottom) / 2.0 + 0.36 * size);
            svg.text(at, text, size, Anchor::Middle, &format!("fill=\"{ink}\""));
        }
    }
}

/// The area between the ends of the spread, within the axes.
fn band(svg: &mut Svg, (x, y): (&Scale, &Scale), style: usize, points: &[Point]) {
    let place = |point: &Point, value: f64| (x.at(point.x), y.within(value));
    let finite = points.iter().filter(|point| point.y.is_finite() && point.spread.is_finite());
    let low = finite.clone().map(|point| place(point, point.y - point.spread));
    let high = finite.rev().map(|point| place(point, point.y + point.spread));
    svg.corners("polygon", &low.chain(high).collect::<Vec<_>>(), &tint(style));
}

/// A matrix as one path for each of some shades: cells side by side that look alike are one rectangle.
fn heat(svg: &mut Svg, (x, y): (&Scale, &Scale), step: f64, rows: &[Vec<Option<f64>>]) {
    const SHADES: usize = 32;
    let level = |share: f64| (share.clamp(0.0, 1.0) * SHADES as f64).round() as usize;
    let mut paths = vec![String::new(); SHADES + 1];
    for (row, cells) in rows.iter().enumerate() {
        let (top, bottom) = (y.at(row as f64 + 0.5), y.at(row as f64 + 1.5));
        let levels: Vec<Option<usize>> = cells.iter().map(|share| share.map(level)).collect();
        let mut column = 0;
        for alike in levels.chunk_by(|one, other| one == other) {
            let edge = |column: usize| number(x.at(0.5 + step * column as f64));
            let (left, right) = (edge(column), edge(column + alike.len()));
            column += alike.len();
            if let Some(level) = alike[0] {
                let [top, bottom] = [top, bottom].map(number);
                paths[level] += &format!("M{left} {top}H{right}V{bottom}H{left}Z");
            }
        }
    }
    for (level, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        let fill = shade(level as f64 / SHADES as f64);
        svg.raw(&format!("<path d=\"{path}\" fill=\"{fill}\" shape-rendering=\"crispEdges\"/>"));
    }
}

/// A dot whose area and darkness grow with a share.
pub(super) fn dot(svg: &mut Svg, at: (f64, f64), share: f64) {
    let share = share.clamp(0.0, 1.0);
    let look = format!("fill=\"{}\" stroke=\"#555555\" stroke-width=\"0.5\"", shade(share));
    svg.circle(at, 1.0 + 4.2 * share.sqrt(), &look);
}

/// An arrow; one without length is a point.
pub(super) fn arrow(svg: &mut Svg, style: usize, from: (f64, f64), to: (f64, f64)) {
    let color = color(style);
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy);
    if length < 0.6 {
        return svg.circle(from, 0.9, &format!("fill=\"{color}\""));
    }
    let thick = if style.is_multiple_of(2) { 1.7 } else { 0.9 };
    svg.line(from, to, &format!("stroke=\"{color}\" stroke-width=\"{thick}\""));
    let head = (0.45 * length).min(5.0);
    let (ux, uy) = (dx / length * head, dy / length * head);
    let corner = |side: f64| (to.0 - ux + side * 0.5 * uy, to.1 - uy - side * 0.5 * ux);
    svg.corners("polygon", &[to, corner(1.0), corner(-1.0)], &format!("fill=\"{color}\""));
}
