//! What a build without a feature says of the commands and options that need it.

use super::support::Place;

#[cfg(not(all(feature = "cuda", feature = "download", feature = "report")))]
fn lacks(args: &[&str], what: &str, feature: &str) {
    let error = format!("{what} needs the feature `{feature}`, which this build of lfnn-cli lacks");
    Place::new().fails(2, args, &error);
}

#[test]
#[cfg(not(feature = "cuda"))]
fn without_cuda_a_gpu_is_refused_and_auto_is_the_cpu() {
    for args in [
        ["train", "--backend", "cuda"],
        ["train", "--precision", "bf16"],
        ["bench", "--precision", "f16"],
        ["bench", "--backend", "cuda:1"],
    ] {
        lacks(&args, "a GPU", "cuda");
    }
    lacks(&["train", "--dry-run", "--backend", "cuda"], "a GPU", "cuda");
    let place = Place::new();
    let ended = place.run(&["train", "--streams", "2"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("a GPU needs the feature `cuda`"), "{}", ended.err);
    assert!(place.train(&[]).contains("(auto: built without the feature `cuda`)"));
    assert!(place.ok(&["devices"]).contains("built without the feature `cuda`"));
}

#[test]
#[cfg(not(feature = "download"))]
fn without_download_data_is_not_fetched_but_listed() {
    lacks(&["data", "fetch", "mnist"], "`data fetch`", "download");
    assert!(Place::new().ok(&["data", "list"]).contains("mnist"));
}

#[test]
#[cfg(not(feature = "report"))]
fn without_report_nothing_is_plotted_or_reproduced() {
    lacks(&["plot", "runs/a"], "`plot`", "report");
    lacks(&["report", "runs/a"], "`report`", "report");
    lacks(&["reproduce", "fig6"], "`reproduce`", "report");
}

#[test]
#[cfg(all(feature = "cuda", feature = "download", feature = "report"))]
fn the_default_build_has_every_feature() {
    let place = Place::new();
    for args in [["devices"].as_slice(), &["data", "list"], &["reproduce", "fig6", "--dry-run"]] {
        assert!(!place.ok(args).contains("needs the feature"), "{args:?}");
    }
}
