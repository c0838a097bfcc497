//! `report`: one page of runs, in a browser and without a network.

use super::browser::{Browser, needs_no_network};
use super::support::Place;

#[test]
fn a_page_of_one_run_has_all_that_is_known_of_it() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    assert_eq!(place.ok(&["report", "run"]), "run/report.html\n");
    assert_eq!(needs_no_network(&place, "run/report.html"), 4);
    let html = place.text("run/report.html");
    for text in [
        "<h1>run: lfnn-l on digits</h1>",
        "<dt>Command</dt><dd>lfnn-cli train --epochs 2 --limit-batches 6 --out run</dd>",
        "<dt>Epochs</dt><dd>2</dd>",
        "<a href=\"metrics.csv\">metrics.csv</a>",
        "<figure id=\"curves\">",
        "<figure id=\"run1-leadership\">",
        "<figure id=\"run1-workers\">",
        "<summary>Configuration of run</summary>",
    ] {
        assert!(html.contains(text), "{text}");
    }
    let error = place.json("run/summary.json")["test_error"].as_f64().unwrap();
    assert!(html.contains(&format!("<td class=\"n\">{error:.2}</td>")));
    let row: serde_json::Value =
        serde_json::from_str(place.text("run/metrics.jsonl").lines().last().unwrap()).unwrap();
    let errors = row["test"]["units"][0]["worker_errors"].as_array().unwrap();
    let best = errors.iter().map(|error| error.as_f64().unwrap()).fold(f64::INFINITY, f64::min);
    let units = html.split("<table id=\"run1-units\">").nth(1).unwrap();
    assert!(units.contains(&format!("<td class=\"n\">{best:.2}</td>")), "{units}");

    // A run that an older version made, or that is not over yet.
    for file in ["origin.json", "summary.json"] {
        std::fs::remove_file(place.path(&format!("run/{file}"))).unwrap();
    }
    place.ok(&["report", "run"]);
    let html = place.text("run/report.html");
    assert!(!html.contains("<dt>Command</dt>") && html.contains("2 of 2, not finished"));
    assert_eq!(needs_no_network(&place, "run/report.html"), 3);
}

#[test]
fn a_page_of_several_runs_groups_seeds_and_links_to_every_table() {
    let place = Place::new();
    for seed in ["1", "2"] {
        place.train(&["--out", &format!("runs/a-{seed}"), "--seed", seed]);
    }
    place.train(&["--out", "runs/bp", "--method", "bp"]);
    let args = ["report", "runs/a-1", "runs/a-2", "runs/bp", "--out", "pages/new/all.html"];
    assert_eq!(place.ok(&args), "pages/new/all.html\n");
    assert_eq!(needs_no_network(&place, "pages/new/all.html"), 12);
    let html = place.text("pages/new/all.html");
    assert!(html.contains("<h1>lfnn-l, bp on digits: 3 runs</h1>"));
    let results = html.split("<table id=\"results\">").nth(1).unwrap();
    let results = results.split("</table>").next().unwrap();
    let error = |run: &str| place.json(&format!("runs/{run}/summary.json"))["test_error"].as_f64();
    let [one, two] = ["a-1", "a-2"].map(|run| error(run).unwrap());
    // Of two values, the standard deviation is their difference over the root of two.
    let (mean, deviation) = ((one + two) / 2.0, (one - two).abs() / 2f64.sqrt());
    assert!(
        results.contains(&format!("<td>{mean:.2}\u{a0}±\u{a0}{deviation:.2}</td>")),
        "{results}"
    );
    assert!(results.contains("<td>a, 2 seeds</td>"), "{results}");
    // Backpropagation trains no workers.
    assert!(html.contains("run2-leadership") && !html.contains("run3-leadership"));

    let Some(browser) = Browser::find() else {
        eprintln!("skipped: there is no Chromium here to open the page");
        return;
    };
    let dom = browser.dom(&place, "pages/new/all.html");
    assert!(dom.contains("<a href=\"../../runs/bp/metrics.csv\">"), "{dom}");
    let pixels = browser.screenshot(&place, "pages/new/all.html");
    // The second curve, and the workers that lead in every batch.
    for color in [(0x00, 0x72, 0xb2), (0x08, 0x30, 0x6b)] {
        let drawn = pixels.pixels().iter();
        let drawn = drawn.filter(|p| (p.red(), p.green(), p.blue()) == color).count();
        assert!(drawn > 200, "{drawn} pixels of {color:?}");
    }
}

#[test]
fn a_page_needs_a_run() {
    let place = Place::new();
    place.fails(2, &["report", "nowhere"], "nowhere: no such folder; expected a run's folder");
    assert_eq!(place.run(&["report"]).code, Some(2));
}
