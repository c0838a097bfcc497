//! `plot`: curves of runs as SVG and PNG.

use super::support::Place;

#[test]
fn plot_draws_the_runs_together() {
    let place = Place::new();
    place.train(&["--out", "one"]);
    place.train(&["--out", "two", "--method", "bp"]);
    let out = place.ok(&["plot", "one", "two", "--out", "pictures"]);
    let files = ["curves.svg", "curves.png", "leadership.svg", "leadership.png"];
    assert_eq!(out, files.map(|file| format!("pictures/{file}\n")).concat());
    let svg = place.text("pictures/curves.svg");
    for text in [">one</text>", ">two</text>", ">epoch</text>", ">test error, %</text>"] {
        assert!(svg.contains(text), "{text}");
    }
    assert_eq!(svg.matches("<polyline").count(), 12, "two runs in six panels");
    assert!(!svg.contains(">1.5</text>"), "an epoch and a half");
    // Only one of the runs has leaders, and three units.
    let svg = place.text("pictures/leadership.svg");
    assert_eq!(svg.matches(">worker</text>").count(), 3);
    assert!(svg.contains(">100 % of the batches</text>") && svg.contains(">one, unit 3</text>"));
    for file in ["curves", "leadership"] {
        assert_eq!(&place.bytes(&format!("pictures/{file}.png"))[..4], b"\x89PNG");
    }
}

#[test]
fn runs_that_differ_only_in_the_seed_are_one_curve_with_a_band() {
    let place = Place::new();
    for seed in ["1", "2"] {
        place.train(&["--out", &format!("a-{seed}"), "--seed", seed]);
    }
    place.train(&["--out", "other", "--set", "leadership.delta=1"]);
    place.ok(&["plot", "a-1", "other", "a-2"]);
    let svg = place.text("curves.svg");
    for text in [">a, 2 seeds</text>", ">other</text>", ">one standard deviation</text>"] {
        assert!(svg.contains(text), "{text}");
    }
    assert_eq!(svg.matches("<polyline").count(), 12, "two curves in six panels");
    assert_eq!(svg.matches("fill-opacity").count(), 7, "a band in each panel, and in the legend");
    // The same seed twice is no spread.
    place.train(&["--out", "again", "--seed", "1"]);
    place.ok(&["plot", "a-1", "again"]);
    let svg = place.text("curves.svg");
    assert!(
        svg.contains(">a-1</text>") && svg.contains(">again</text>") && !svg.contains("opacity")
    );
}

#[test]
fn a_time_axis_is_drawn_on_request() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    place.ok(&["plot", "run", "--x", "time"]);
    let svg = place.text("curves.svg");
    assert!(svg.contains(">time of training, s</text>") && !svg.contains(">epoch</text>"));
}

#[test]
fn without_leaders_there_is_no_picture_of_them() {
    let place = Place::new();
    place.train(&["--out", "run", "--method", "bp"]);
    assert_eq!(place.ok(&["plot", "run"]), "./curves.svg\n./curves.png\n");
}

#[test]
fn plot_refuses_what_is_no_run() {
    let place = Place::new();
    place.fails(2, &["plot", "nowhere"], "nowhere: no such folder; expected a run's folder");
    std::fs::create_dir(place.path("empty")).unwrap();
    let message = "empty: no epochs to show (metrics.jsonl is missing or empty)";
    place.fails(2, &["plot", "empty"], message);
}
