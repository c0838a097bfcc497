//! `plot`: curves of runs as SVG and PNG.

use super::support::Place;

#[test]
fn plot_draws_the_runs_together() {
    let place = Place::new();
    place.train(&["--out", "one"]);
    place.train(&["--out", "two", "--method", "bp"]);
    let out = place.ok(&["plot", "one", "two", "--out", "pictures"]);
    assert_eq!(out, "pictures/curves.svg\npictures/curves.png\n");
    let svg = place.text("pictures/curves.svg");
    for text in [">one</text>", ">two</text>", ">epoch</text>", ">test error, %</text>"] {
        assert!(svg.contains(text), "{text}");
    }
    assert_eq!(svg.matches("<polyline").count(), 8, "two runs in four panels");
    assert_eq!(&place.bytes("pictures/curves.png")[..4], b"\x89PNG");
}

#[test]
fn plot_refuses_what_is_no_run() {
    let place = Place::new();
    place.fails(2, &["plot", "nowhere"], "nowhere: no such folder; expected a run's folder");
    std::fs::create_dir(place.path("empty")).unwrap();
    let message = "empty: no epochs to plot (metrics.jsonl is missing or empty)";
    place.fails(2, &["plot", "empty"], message);
}
