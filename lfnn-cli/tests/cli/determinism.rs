//! The same bytes, whatever the number of threads.

use lfnn_core::method::names;

use super::support::Place;

fn last(place: &Place, out: &str) -> Vec<u8> {
    place.bytes(&format!("{out}/checkpoints/last.safetensors"))
}

#[test]
fn two_runs_and_two_numbers_of_threads_end_with_the_same_bytes() {
    for method in names() {
        let place = Place::new();
        let run = |out: &str, threads: &str| {
            place.train(&["--method", method, "--out", out, "--threads", threads]);
            last(&place, out)
        };
        let first = run("a", "1");
        assert_eq!(first, run("b", "1"), "{method}: twice");
        assert_eq!(first, run("c", "2"), "{method}: 1 and 2 threads");
        assert_eq!(
            place.bytes("a/checkpoints/best.safetensors"),
            place.bytes("c/checkpoints/best.safetensors")
        );
    }
}

#[test]
fn the_metrics_but_for_times_are_the_same() {
    let place = Place::new();
    let rows = |out: &str| -> Vec<serde_json::Value> {
        place.train(&["--out", out]);
        let timed = ["seconds", "images_per_second", "peak_memory_bytes"];
        let lines = place.text(&format!("{out}/metrics.jsonl"));
        let mut rows: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for row in &mut rows {
            row.as_object_mut().unwrap().retain(|key, _| !timed.contains(&key.as_str()));
        }
        rows
    };
    assert_eq!(rows("a"), rows("b"));
}
