//! Every kind of mark in one figure: its SVG is well formed, its PNG is not blank, and no label leaves
//! the paper.

use resvg::usvg;

use super::*;

fn points(values: &[(f64, f64, f64)]) -> Vec<Point> {
    values.iter().map(|&(x, y, spread)| Point { x, y, spread }).collect()
}

pub(super) fn figure() -> Figure {
    let line =
        |name: &str, style, values: &[_]| Mark::new(name, style, Shape::MarkedLine(points(values)));
    let lines = Panel::new(
        "lines with error bars",
        Axis::new("leaders δ, %"),
        Axis::new("test error, %"),
        vec![
            line("32 workers", 1, &[(10.0, 4.0, 0.4), (50.0, 3.0, 0.2), (100.0, 2.5, 0.1)]),
            line(
                "512 workers <λ>",
                2,
                &[(10.0, 3.2, 0.4), (50.0, f64::NAN, 0.2), (100.0, 2.0, 0.1)],
            ),
            Mark::new("bp", 0, Shape::Level(1.9)),
        ],
        (300.0, 200.0),
    );
    let alone = points(&[(0.0, 2.0, 0.3), (1.0, f64::NAN, 0.0), (2.0, 2.5, 0.0)]);
    let bars = Panel::new(
        "bars",
        Axis::names("", &["a name", "another long name", "a very long name indeed"]),
        Axis::new("error, %"),
        vec![
            Mark::new("ours", 1, Shape::Bars(vec![Some((1.0, 0.2)), None, Some((3.0, 0.0))])),
            Mark::new("paper", 3, Shape::Bars(vec![Some((1.5, 0.0)); 3])),
            Mark::new("alone", 4, Shape::Points(alone)),
        ],
        (240.0, 200.0),
    );
    let row = |i| (0..3).map(|j| (f64::from(i * 3 + j) / 8.0, "0.12".to_owned())).collect();
    let cells = Panel::new(
        "cells",
        Axis::names("parameters of", &["unit 1", "unit 2", "output"]),
        Axis::names("gradient of", &["unit 1", "unit 2", "output"]),
        vec![Mark::new("", 0, Shape::Cells((0..3).map(row).collect()))],
        (180.0, 180.0),
    );
    let dots = (1..9).map(|i| (f64::from(i) * 10.0, 2.0, f64::from(i) / 8.0)).collect();
    let arrows = vec![([10.0, 1.0], [20.0, 1.5]), ([30.0, 1.0], [30.0, 1.0])];
    let dots = Panel::new(
        "dots and arrows",
        Axis::new("steps").log(),
        Axis::new("worker"),
        vec![
            Mark::new("of the batches led", 0, Shape::Dots(dots)),
            Mark::new("leaders", 2, Shape::Arrows(arrows)),
        ],
        (240.0, 180.0),
    );
    let row = |i| (0..40).map(|j| (j != 7).then(|| f64::from((i * j) % 40) / 39.0)).collect();
    let band = points(&[(0.0, 5.0, 1.0), (20.0, 3.0, 0.4), (40.0, 2.5, 0.2)]);
    let heat = Panel::new(
        "heat",
        Axis::new("epoch").whole(),
        Axis::new("worker").whole(),
        vec![
            Mark::new(
                "of the batches",
                0,
                Shape::Heat { step: 1.0, rows: (0..6).map(row).collect() },
            ),
            Mark::new("standard deviation", 1, Shape::Band(band)),
        ],
        (240.0, 80.0),
    );
    Figure {
        title:
            "Every kind of mark, & a title that is long enough to be broken into two lines or so"
                .into(),
        panels: vec![lines, bars, cells, dots, heat],
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
fn error_bars_at_the_same_place_are_drawn_beside_one_another() {
    let line = |spread| {
        Mark::new("", 0, Shape::MarkedLine(points(&[(0.0, 1.0, spread), (100.0, 2.0, spread)])))
    };
    let starts = |marks: Vec<Mark>| -> Vec<f64> {
        let start = |mark: &Mark| match &mark.shape {
            Shape::MarkedLine(points) => points[0].x,
            _ => f64::NAN,
        };
        marks.iter().map(start).collect()
    };
    let [first, without, second] = starts(dodge(vec![line(0.1), line(0.0), line(0.2)]))[..] else {
        panic!("three series");
    };
    assert_eq!((without, first), (0.0, -second));
    assert!((second - 0.7).abs() < 1e-9, "{second}");
    assert_eq!(starts(dodge(vec![line(0.1), line(0.0)])), [0.0, 0.0]);
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
    let one = Mark::new("one", 7, Shape::MarkedLine(points(&[(3.0, 0.0, 0.0)])));
    for axis in [Axis::new("a"), Axis::new("b").log()] {
        for marks in [vec![], vec![one.clone()]] {
            let panel = Panel::new("", axis.clone(), axis.clone(), marks, (100.0, 80.0));
            let figure = Figure { title: String::new(), panels: vec![panel], columns: 1 };
            let svg = figure.svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
    assert!(Figure { title: String::new(), panels: vec![], columns: 3 }.svg().contains("<svg"));
}
