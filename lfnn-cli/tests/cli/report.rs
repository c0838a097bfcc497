//! `report`: one page of runs, in a browser and without a network.

use base64::prelude::{BASE64_STANDARD, Engine};
use lfnn_data::{Dataset, DatasetName, Source, silent};

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

/// The cells of a table, row by row.
fn cells(html: &str, table: &str) -> Vec<Vec<String>> {
    let table = html.split(&format!("<table id=\"{table}\">")).nth(1).unwrap();
    let body = table.split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap();
    let cell =
        |rest: &str| rest.split_once('>').unwrap().1.split("</td>").next().unwrap().to_owned();
    let rows = body.split("<tr>").skip(1);
    rows.map(|row| row.split("<td").skip(1).map(cell).collect()).collect()
}

#[test]
fn a_page_shows_the_confusion_matrix_and_wrong_images_on_request() {
    let place = Place::new();
    place.train(&["--out", "run", "--set", "dataset.permute_pixels=true"]);
    place.ok(&["report", "run", "--scores"]);
    assert_eq!(needs_no_network(&place, "run/report.html"), 4);
    let html = place.text("run/report.html");
    let json = place.ok(&["eval", "run", "--scores", "--json"]);
    let scores: serde_json::Value = serde_json::from_str(&json).unwrap();
    let confusion = &scores["scores"]["confusion"];
    let shown = cells(&html, "run1-confusion");
    assert_eq!(shown.len(), 10);
    for (class, row) in shown.iter().enumerate() {
        assert_eq!(row[0], class.to_string());
        let counts: Vec<u64> = row[1..].iter().map(|cell| cell.parse().unwrap()).collect();
        let expected: Vec<u64> = serde_json::from_value(confusion[class].clone()).unwrap();
        assert_eq!(counts, expected);
    }
    let error = scores["error"].as_f64().unwrap();
    assert!(html.contains(&format!(
        "Predicted classes on the test data after epoch 2: error {error:.2} %"
    )));

    let wrong = html.split("<figure id=\"run1-wrong\"").nth(1).unwrap();
    let captions: Vec<&str> = wrong
        .split("<figcaption>")
        .skip(1)
        .map(|rest| rest.split("</figcaption>").next().unwrap())
        .collect();
    let pictures: Vec<&str> =
        wrong.split("base64,").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!((pictures.len(), captions.len()), (24, 25));
    let percents: Vec<f64> = captions[..24]
        .iter()
        .map(|caption| caption.split(' ').nth(3).unwrap().parse().unwrap())
        .collect();
    assert!(percents.is_sorted_by(|one, other| one >= other), "{percents:?}");
    for (caption, picture) in captions.iter().zip(&pictures) {
        let words: Vec<&str> = caption.split(' ').collect();
        assert!(words[1] == "→" && words[0] != words[2], "{caption}");
        let png = BASE64_STANDARD.decode(picture).unwrap();
        let shown = image::load_from_memory(&png).unwrap().into_rgb8();
        // It is a digit of its class, with its pixels in their places.
        let pixels: Vec<u8> = shown.pixels().map(|pixel| pixel.0[0]).collect();
        let digits = digits();
        let class = |label: &u32| label.to_string() == words[0];
        let found = (0..digits.test.len())
            .any(|at| digits.test.image(at) == pixels && class(&digits.test.labels()[at]));
        assert!(found, "{caption}");
    }
    let ended = place.run(&["report", "run", "--data", "elsewhere"]);
    assert!(ended.code == Some(2) && ended.err.contains("--scores"), "{}", ended.err);
    let Some(browser) = Browser::find() else {
        eprintln!("skipped: there is no Chromium here to open the page");
        return;
    };
    assert!(browser.dom(&place, "run/report.html").contains("run1-wrong"));
}

fn digits() -> Dataset {
    Dataset::load(&Source::named(DatasetName::Digits), "".as_ref(), &silent).unwrap()
}

#[test]
fn of_many_classes_the_most_frequent_confusions_are_listed_and_of_a_table_no_pictures() {
    let place = Place::new();
    let rows: String = (0..300).map(|i| format!("{},{},c{}\n", i % 7, i % 11, i % 25)).collect();
    place.write("t.csv", format!("a,b,y\n{rows}"));
    place.write("c.yaml", super::own_data::config("", "classification"));
    place.ok(&["train", "--config", "c.yaml", "--epochs", "1", "-q", "--out", "run"]);
    place.ok(&["report", "run", "--scores", "--data", "t.csv"]);
    let html = place.text("run/report.html");
    assert!(!html.contains("run1-wrong"));
    let counts: Vec<usize> =
        cells(&html, "run1-confusion").iter().map(|row| row[2].parse().unwrap()).collect();
    assert!(!counts.is_empty() && counts.is_sorted_by(|one, other| one >= other), "{counts:?}");
    assert_eq!(cells(&html, "run1-scores").len(), 25);
}
