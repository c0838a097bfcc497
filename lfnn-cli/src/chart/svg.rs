//! Writing SVG, and measuring text in its font.

use std::sync::LazyLock;

use skrifa::charmap::Charmap;
use skrifa::instance::{LocationRef, Size};
use skrifa::metrics::GlyphMetrics;
use skrifa::{FontRef, MetadataProvider};

/// The font's name in the document; `raster` sets it from the embedded file.
pub(super) const FONT: &str = "DejaVu Sans";

/// Text colour and axes.
pub(super) const INK: &str = "#222222";

/// Size of most text.
pub(super) const TEXT: f64 = 12.0;

/// What is needed of the font: the glyph of a character, the glyphs' widths, and the units in which these are given.
struct Face {
    charmap: Charmap<'static>,
    glyphs: GlyphMetrics<'static>,
    units_per_em: f64,
}

static FACE: LazyLock<Option<Face>> = LazyLock::new(|| {
    let font = FontRef::new(dejavu::sans::regular()).ok()?;
    let (size, location) = (Size::unscaled(), LocationRef::default());
    Some(Face {
        charmap: font.charmap(),
        glyphs: font.glyph_metrics(size, location),
        units_per_em: f64::from(font.metrics(size, location).units_per_em),
    })
});

/// Width of a text.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let Some(face) = &*FACE else { return 0.62 * size * text.chars().count() as f64 };
    let advance = |c| face.charmap.map(c).and_then(|glyph| face.glyphs.advance_width(glyph));
    let units: f64 = text.chars().map(|c| f64::from(advance(c).unwrap_or(1200.0))).sum();
    units * size / face.units_per_em
}

/// A coordinate in few digits.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

/// Text with the characters escaped that mean something in XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Which point of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A document under way.
#[derive(Debug, Default)]
pub(super) struct Svg {
    body: String,
}

impl Svg {
    /// Adds an element.
    pub(super) fn raw(&mut self, element: &str) {
        self.body += element;
        self.body.push('\n');
    }

    /// Adds a straight line.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), look: &str) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(number);
        self.raw(&format!("<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" {look}/>"));
    }

    /// Adds a rectangle.
    pub(super) fn rect(&mut self, at: (f64, f64), size: (f64, f64), look: &str) {
        let [x, y, width, height] = [at.0, at.1, size.0, size.1].map(number);
        self.raw(&format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" {look}/>"
        ));
    }

    /// Adds a circle.
    pub(super) fn circle(&mut self, at: (f64, f64), radius: f64, look: &str) {
        let [x, y, r] = [at.0, at.1, radius].map(number);
        self.raw(&format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" {look}/>"));
    }

    /// Adds a `polyline` or a `polygon`.
    pub(super) fn corners(&mut self, element: &str, corners: &[(f64, f64)], look: &str) {
        let corners: Vec<String> =
            corners.iter().map(|&(x, y)| format!("{},{}", number(x), number(y))).collect();
        self.raw(&format!("<{element} points=\"{}\" {look}/>", corners.join(" ")));
    }

    /// Adds a line of text; `look` may turn it or make it bold.
    pub(super) fn text(
        &mut self,
        at: (f64, f64),
        text: &str,
        size: f64,
        anchor: Anchor,
        look: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.raw(&format!(
            "<text x=\"{}\" y=\"{}\" font-size=\"{size}\" text-anchor=\"{anchor}\" {look}>{}</text>",
            number(at.0),
            number(at.1),
            escape(text)
        ));
    }

    /// The whole document.
    pub(super) fn finish(self, width: f64, height: f64, title: &str, defs: &str) -> String {
        let (w, h) = (number(width), number(height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" \
             viewBox=\"0 0 {w} {h}\" role=\"img\" font-family=\"'{FONT}', Verdana, sans-serif\" \
             fill=\"{}\">\n<title>{}</title>\n{defs}\n\
             <rect width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            INK,
            escape(title),
            self.body
        )
    }
}
