//! `train --tensorboard`: event files that TensorBoard's own reader reads.

use std::process::Command;

use super::support::{Place, python};

/// Prints each scalar as `tag step value`.
const READER: &str = "
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
for tag in events.Tags()['scalars']:
    for event in events.Scalars(tag):
        print(tag, event.step, event.value)
";

#[test]
fn tensorboard_reads_every_epoch_of_a_run_that_went_on() {
    let place = Place::new();
    place.train(&["--out", "run", "--tensorboard"]);
    let file = "run/events.out.tfevents.0.lfnn";
    assert!(place.has(file));
    // Going on rewrites the files of metrics, this one too.
    let before = place.bytes(file).len();
    place.ok(&["train", "--resume", "--out", "run"]);
    assert_eq!(place.bytes(file).len(), before);
    place.train(&["--out", "plain"]);
    assert!(!place.has("plain/events.out.tfevents.0.lfnn"));

    let Some(python) = python("tensorboard") else {
        eprintln!("skipped: there is no Python with TensorBoard here to read the events");
        return;
    };
    let output = Command::new(python).args(["-c", READER]).arg(place.path("run")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = String::from_utf8(output.stdout).unwrap();
    let metrics = place.text("run/metrics.jsonl");
    for (line, epoch) in metrics.lines().zip(1..) {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        for (tag, expected) in [
            ("loss/test", &row["test"]["loss"]),
            ("unit1/worker3/lead_percent/train", &row["train"]["units"][0]["lead_percent"][2]),
            ("unit2/worker1/worker_errors/test", &row["test"]["units"][1]["worker_errors"][0]),
        ] {
            let prefix = format!("{tag} {epoch} ");
            let found = read.lines().find_map(|line| line.strip_prefix(&prefix));
            let found = found.unwrap_or_else(|| panic!("no {prefix}in {read}"));
            let (found, expected) = (found.parse::<f64>().unwrap(), expected.as_f64().unwrap());
            assert!((found - expected).abs() <= 1e-6 * expected, "{tag}: {found} and {expected}");
        }
    }
    assert!(read.contains("unit1/worker_errors_lowest/test 2 "), "{read}");
}
