//! SVG as PNG, with the embedded font and no other: the picture is the same on every machine.

use std::sync::{Arc, LazyLock};

use anyhow::{Context, anyhow};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

use super::svg::FONT;

/// Pixels per unit of the drawing.
const SCALE: f32 = 2.0;

static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_font_data(dejavu::sans::bold().to_vec());
    Arc::new(fonts)
});

/// The bytes of a PNG file.
///
/// # Errors
/// A drawing without extent, or too large for memory.
pub(super) fn png(svg: &str) -> anyhow::Result<Vec<u8>> {
    let options =
        Options { font_family: FONT.into(), fontdb: Arc::clone(&FONTS), ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("cannot read the chart's own SVG")?;
    let size = tree.size().to_int_size().scale_by(SCALE).context("a chart without extent")?;
    let mut pixels = Pixmap::new(size.width(), size.height())
        .with_context(|| format!("no memory for {} × {} pixels", size.width(), size.height()))?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| anyhow!("cannot write PNG: {error}"))
}
