//! Every kind of mark in one figure: its SVG is well formed, its PNG is not blank, and no label leaves
//! the paper.

use resvg::usvg;

use super::*;

fn points(values: &[(f64, f64, f64)]) -> Vec<Point> {
    values.iter().map(|&(x, y, spread)| Point { x, y, spread }).collect()
}

pub(super) fn figure() -> Figure {
    let lines = Panel {
        title: "lines with error bars".into(),
        x: Axis::new("leaders δ, %"),
        y: Axis::new("test error, %"),
        marks: vec![
            Mark::Line {
                name: "32 workers".into(),
                style: 1,
                points: points(&[(10.0, 4.0, 0.4), (50.0, 3.0, 0.2), (100.0, 2.5, 0.1)]),
                markers: true,
            },
            Mark::Line {
                name: "512 workers <λ>".into(),
                style: 2,
                points: points(&[(10.0, 3.2, 0.4), (50.0, f64::NAN, 0.2), (100.0, 2.0, 0.1)]),
                markers: true,
            },
            Mark::Level { name: "bp".into(), style: 0, y: 1.9 },
        ],
        size: (300.0, 200.0),
    };
    let bars = Panel {
        title: "bars".into(),
        x: Axis::names("", &["a name", "another long name", "a very long name indeed"]),
        y: Axis::new("error, %"),
        marks: vec![
            Mark::Bars {
                name: "ours".into(),
                style: 1,
                values: vec![Some((1.0, 0.2)), None, Some((3.0, 0.0))],
            },
            Mark::Bars { name: "paper".into(), style: 3, values: vec![Some((1.5, 0.0)); 3] },
            Mark::Points {
                name: "alone".into(),
                style: 4,
                points: points(&[(0.0, 2.0, 0.3), (1.0, f64::NAN, 0.0), (2.0, 2.5, 0.0)]),
            },
        ],
        size: (240.0, 200.0),
    };
    let cells = Panel {
        title: "cells".into(),
        x: Axis::names("parameters of", &["unit 1", "unit 2", "output"]),
        y: Axis::names("gradient of", &["unit 1", "unit 2", "output"]),
        marks: vec![Mark::Cells {
            rows: (0..3)
                .map(|i| (0..3).map(|j| (f64::from(i * 3 + j) / 8.0, "0.12".to_owned())).collect())
                .collect(),
        }],
        size: (180.0, 180.0),
    };
    let dots = Panel {
        title: "dots and arrows".into(),
        x: Axis::new("steps").log(),
        y: Axis::new("worker"),
        marks: vec![
            Mark::Dots {
                dots: (1..9).map(|i| (f64::from(i) * 10.0, 2.0, f64::from(i) / 8.0)).collect(),
                name: "of the batches led".into(),
            },
            Mark::Arrows {
                name: "leaders".into(),
                style: 2,
                arrows: vec![([10.0, 1.0], [20.0, 1.5]), ([30.0, 1.0], [30.0, 1.0])],
            },
        ],
        size: (240.0, 180.0),
    };
    Figure {
        title:
            "Every kind of mark, & a title that is long enough to be broken into two lines or so"
                .into(),
        panels: vec![lines, bars, cells, dots],
        columns: 2,
    }
}

#[test]
fn a_figure_is_well_formed_and_its_picture_is_not_blank() {
    let svg = figure().svg();
    for text in ["512 workers &lt;λ&gt;", "a very long name indeed", "leaders δ, %", "100 % of the"]
    {
        assert!(svg.contains(text), "{text}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    let folder = tempfile::tempdir().unwrap();
    figure().write(folder.path(), "figure").unwrap();
    let png = std::fs::read(folder.path().join("figure.png")).unwrap();
    let pixels = resvg::tiny_skia::Pixmap::decode_png(&png).unwrap();
    let dark = pixels.pixels().iter().filter(|pixel| pixel.red() < 100).count();
    assert!(dark > 5000, "{dark} dark pixels");
}

#[test]
fn no_text_leaves_the_paper() {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_font_data(dejavu::sans::bold().to_vec());
    let options = usvg::Options { fontdb: std::sync::Arc::new(fonts), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(&figure().svg(), &options).unwrap();
    let (wide, high) = (tree.size().width(), tree.size().height());
    let mut texts = 0;
    for node in tree.root().children() {
        if let usvg::Node::Text(_) = node {
            let edges = node.abs_bounding_box();
            texts += 1;
            let inside = edges.left() >= 0.0
                && edges.top() >= 0.0
                && edges.right() <= wide
                && edges.bottom() <= high;
            assert!(inside, "{edges:?} on {wide} × {high}");
        }
    }
    assert!(texts > 30, "{texts} texts");
}

#[test]
fn empty_figures_and_values_without_extent_are_drawn() {
    let panel = |marks: Vec<Mark>, axis: Axis| Panel {
        title: String::new(),
        x: axis.clone(),
        y: axis,
        marks,
        size: (100.0, 80.0),
    };
    let one = Mark::Line {
        name: "one".into(),
        style: 7,
        points: points(&[(3.0, 0.0, 0.0)]),
        markers: true,
    };
    for axis in [Axis::new("a"), Axis::new("b").log()] {
        for marks in [vec![], vec![one.clone()]] {
            let figure = Figure {
                title: String::new(),
                panels: vec![panel(marks, axis.clone())],
                columns: 1,
            };
            let svg = figure.svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
    assert!(Figure { title: String::new(), panels: vec![], columns: 3 }.svg().contains("<svg"));
}
