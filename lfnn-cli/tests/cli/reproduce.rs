//! `reproduce`: every target shortened, plans that go on, and the report in a browser.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::browser::{Browser, needs_no_network};
use super::support::Place;

fn short<'a>(target: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all =
        vec!["reproduce", target, "--seeds", "1", "--epochs", "2", "--limit-batches", "8"];
    all.extend(["--out", "out"]);
    all.extend(more);
    all
}

#[test]
fn every_target_makes_its_report() {
    let place = Place::new();
    // Rows of the first table, and figures.
    let targets = [
        ("table1", 11, 1),
        ("table2", 10, 1),
        ("table3", 10, 1),
        ("fig3a", 21, 2),
        ("fig3b", 4, 1),
        ("fig4", 4, 1),
        ("fig5", 4, 4),
        ("fig6", 4, 1),
        ("supplement", 11, 1),
        ("locality", 11, 1),
        ("memory", 10, 1),
    ];
    for (target, rows, figures) in targets {
        let out = place.ok(&short(target, &[]));
        assert!(out.contains("plan: ") && !out.contains("FAILED"), "{out}");
        assert!(out.ends_with(&format!("report: out/{target}/report.html\n")), "{out}");
        let results = place.json(&format!("out/{target}/results.json"));
        assert_eq!(results["tables"][0]["rows"].as_array().unwrap().len(), rows, "{target}");
        assert_eq!(results["faults"], Value::Array(vec![]), "{target}");
        assert!(!results["tasks"].as_array().unwrap().is_empty());
        for table in results["tables"].as_array().unwrap() {
            let csv = place.text(&format!("out/{target}/{}.csv", table["name"].as_str().unwrap()));
            assert_eq!(csv.lines().count(), table["rows"].as_array().unwrap().len() + 1);
        }
        let html = place.text(&format!("out/{target}/report.html"));
        assert_eq!(html.matches("<figure ").count(), figures, "{target}");
        assert_eq!(html.matches("<svg ").count(), figures, "{target}");
        let links = needs_no_network(&place, &format!("out/{target}/report.html"));
        assert!(links > 2 * figures, "{target}: {links} links");
        for fact in ["Command", "Date", "Program", "Machine", "Backend"] {
            assert!(html.contains(&format!("<dt>{fact}</dt><dd>")), "{target}: {fact}");
        }
        let pictures = std::fs::read_dir(place.path(&format!("out/{target}"))).unwrap();
        let png = pictures.filter(|file| {
            file.as_ref().unwrap().path().extension().is_some_and(|end| end == "png")
        });
        assert_eq!(png.count(), figures, "{target}");
    }
    // The numbers of a table are those of its runs.
    let csv = place.text("out/table1/table1-digits.csv");
    let bp = csv.lines().find(|line| line.starts_with("bp,")).unwrap();
    let shown: f64 = bp.split(',').nth(1).unwrap().parse().unwrap();
    assert!(csv.contains("\ndfa (not in the paper’s table),"), "{csv}");
    let run = place.json("out/runs/digits-bp-delta70-1/summary.json");
    assert_eq!(Some(shown), run["test_error"].as_f64());
    // With four workers, ten percentages are four trainings.
    let figure = place.text("out/table2/table2.svg");
    let lines: Vec<usize> = figure
        .split("<polyline points=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().split(' ').count())
        .collect();
    assert_eq!(lines, [4, 4]);
    // One seed has no spread: its column is in the file and not on the page.
    let page = place.text("out/table1/report.html");
    assert!(csv.starts_with("method,test,±,") && !page.contains("<th class=\"n\">±</th>"));
    // Locality holds for the methods that claim it, and for no other.
    let results = place.json("out/locality/results.json");
    for row in results["tables"][0]["rows"].as_array().unwrap() {
        let local =
            ["lg-bp", "lg-fg-w", "lg-fg-a", "lfnn-l", "lg-fa"].contains(&row[0].as_str().unwrap());
        assert_eq!(row[1] == "no", local, "{row}");
    }
    let again = place.ok(&short("table2", &[]));
    assert!(again.contains("plan: all 8 trainings and computations are done\n"), "{again}");
}

#[test]
fn a_plan_that_was_killed_goes_on_and_ends_with_the_same_tables() {
    let place = Place::new();
    let mut whole = short("table2", &[]);
    let at = whole.iter().position(|arg| *arg == "out").unwrap();
    whole[at] = "whole";
    place.ok(&whole);
    for wait in [1, 3] {
        let args = short("table2", &["--jobs", "2"]);
        let mut child = place.command(&args).stdout(Stdio::null()).spawn().unwrap();
        let begin = Instant::now();
        let ended = || {
            let runs = std::fs::read_dir(place.path("out/runs")).into_iter().flatten();
            runs.filter(|run| run.as_ref().unwrap().path().join("summary.json").exists()).count()
        };
        while ended() < wait && child.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(120), "no run ended");
            std::thread::sleep(Duration::from_millis(2));
        }
        // A plan that was quicker than this is done already.
        let _ = child.kill();
        child.wait().unwrap();
    }
    let out = place.ok(&short("table2", &[]));
    assert!(out.contains("plan: "), "{out}");
    for table in ["digits-lfnn-l.csv", "digits-lfnn.csv"] {
        let path = |out: &str| format!("{out}/table2/{table}");
        assert_eq!(place.text(&path("out")), place.text(&path("whole")));
    }
}

#[test]
fn other_settings_in_the_same_folder_are_refused() {
    let place = Place::new();
    place.ok(&short("fig6", &[]));
    let mut other = short("fig6", &[]);
    other[5] = "3";
    place.fails(
        2,
        &other,
        "out/runs/mnist-fc-lfnn-l-delta20-digits-1: `training.epochs` is 2 in this run, but 3 in this \
         plan; --out names another folder",
    );
}

#[test]
fn targets_that_are_not_there_and_data_that_is_missing() {
    let place = Place::new();
    let ended = place.run(&["reproduce", "tabel2"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.err.starts_with("error: there is no target `tabel2`; did you mean `table2`?"),
        "{}",
        ended.err
    );
    place.fails(
        1,
        &["reproduce", "table2", "--scale", "paper", "--data-dir", "data"],
        "mnist is not in data, and this target at paper scale needs it; `lfnn-cli data fetch mnist` \
         brings it, --data-dir names another folder",
    );
    assert!(!place.has("reproduction"));
    place.fails(
        2,
        &["reproduce", "table1", "--recipe", "mnist-s"],
        "--recipe mnist-s: there is no such part, or its data is missing (expected one of digits)",
    );
    place.fails(
        2,
        &["reproduce", "fig6", "--recipe", "mnist-fc"],
        "--recipe chooses parts of a table, and fig6 has none to choose from",
    );
    let out = place.ok(&["reproduce", "table2", "--recipe", "digits", "--dry-run"]);
    assert!(out.contains("plan: 24 of 24 trainings and computations to do; "), "{out}");
    let out = place.ok(&["reproduce", "fig6", "--dry-run"]);
    assert!(out.contains("plan: 3 of 3 trainings and computations to do; "), "{out}");
    assert!(!place.has("reproduction"), "a dry run leaves nothing");
}

#[test]
fn a_browser_shows_the_tables_and_pictures_of_a_report() {
    let Some(browser) = Browser::find() else {
        eprintln!("skipped: there is no Chromium here to open the report");
        return;
    };
    let place = Place::new();
    place.ok(&short("table2", &[]));
    let dom = browser.dom(&place, "out/table2/report.html");
    assert!(dom.contains("<h1>Table 2: leadership size on MNIST and CIFAR-10</h1>"), "{dom}");
    let table = dom.split("<table id=\"digits-lfnn-l\">").nth(1).unwrap();
    let table = table.split("</table>").next().unwrap();
    assert_eq!(table.matches("<tr>").count(), 11, "{table}");
    assert!(table.contains("<td>3 of 4</td>"), "{table}");

    let pixels = browser.screenshot(&place, "out/table2/report.html");
    // The two curves' colours: blue #0072b2 and vermilion #d55e00.
    for color in [(0x00, 0x72, 0xb2), (0xd5, 0x5e, 0x00)] {
        let drawn = pixels.pixels().iter();
        let drawn = drawn.filter(|p| (p.red(), p.green(), p.blue()) == color).count();
        assert!(drawn > 100, "{drawn} pixels of {color:?}");
    }
}
