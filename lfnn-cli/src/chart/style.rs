//! Looks of series: colours that differ for colour-blind readers too, dashes, markers and hatching that
//! differ in black and white.

use super::svg::Svg;

const COLORS: [&str; 9] = [
    "#000000", "#0072b2", "#d55e00", "#009e73", "#b3498f", "#c98500", "#4a90c2", "#7a4f24",
    "#777777",
];

const DASHES: [&str; 9] =
    ["", "7 3", "2 2.5", "9 3 2 3", "5 2", "1 3", "12 3", "6 2 2 2 2 2", "3 3"];

/// The colour of a style.
pub(super) fn color(style: usize) -> &'static str {
    COLORS[style % COLORS.len()]
}

/// The attribute that dashes a line of a style; empty for a solid line.
pub(super) fn dash(style: usize) -> String {
    match DASHES[style % DASHES.len()] {
        "" => String::new(),
        dash => format!(" stroke-dasharray=\"{dash}\""),
    }
}

/// Draws the marker of a style.
pub(super) fn marker(svg: &mut Svg, style: usize, x: f64, y: f64) {
    let color = color(style);
    let fill = if (style / 3).is_multiple_of(2) { color } else { "#ffffff" };
    let look = format!("fill=\"{fill}\" stroke=\"{color}\" stroke-width=\"1.2\"");
    let r = 3.4;
    let mut polygon = |corners: &[(f64, f64)]| {
        let corners: Vec<_> = corners.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
        svg.corners("polygon", &corners, &look);
    };
    match style % 4 {
        0 => svg.circle((x, y), r, &look),
        1 => polygon(&[(-r, -r), (r, -r), (r, r), (-r, r)]),
        2 => polygon(&[(0.0, -r - 1.0), (r + 0.8, r), (-r - 0.8, r)]),
        _ => polygon(&[(0.0, -r - 1.2), (r + 1.2, 0.0), (0.0, r + 1.2), (-r - 1.2, 0.0)]),
    }
}

/// The hatchings of bars, to be put into the document once.
pub(super) fn hatchings() -> String {
    let mut text = String::from("<defs>");
    for (style, color) in COLORS.iter().enumerate() {
        let lines = match style % 5 {
            0 => String::new(),
            1 => format!("<path d=\"M0 6L6 0\" stroke=\"{color}\" stroke-width=\"1.3\"/>"),
            2 => format!("<circle cx=\"3\" cy=\"3\" r=\"1.2\" fill=\"{color}\"/>"),
            3 => format!("<path d=\"M0 0L6 6M0 6L6 0\" stroke=\"{color}\" stroke-width=\"1\"/>"),
            _ => format!("<path d=\"M0 3H6\" stroke=\"{color}\" stroke-width=\"1.2\"/>"),
        };
        let ground = if style % 5 == 0 { color } else { "#ffffff" };
        text += &format!(
            "<pattern id=\"hatch{style}\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
             <rect width=\"6\" height=\"6\" fill=\"{ground}\"/>{lines}</pattern>"
        );
    }
    text + "</defs>"
}

/// The attributes of a bar of a style.
pub(super) fn bar(style: usize) -> String {
    let style = style % COLORS.len();
    format!("fill=\"url(#hatch{style})\" stroke=\"{}\" stroke-width=\"1\"", COLORS[style])
}

/// The attributes of an area of a style behind its line.
pub(super) fn tint(style: usize) -> String {
    format!("fill=\"{}\" fill-opacity=\"0.18\" stroke=\"none\"", color(style))
}

/// A shade for a share: white at 0, dark blue at 1, darker all the way.
pub(super) fn shade(share: f64) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let mix = |from: f64, to: f64| (from + (to - from) * share).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(255.0, 8.0), mix(255.0, 48.0), mix(255.0, 107.0))
}
