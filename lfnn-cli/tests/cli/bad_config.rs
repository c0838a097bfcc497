//! Wrong command lines and configurations: each with its message, and exit code 2.

use super::support::Place;

/// `train` with these arguments fails with this error, and leaves no run.
fn refused(args: &[&str], error: &str) {
    let place = Place::new();
    let mut all = vec!["train"];
    all.extend(args);
    place.fails(2, &all, error);
    assert!(!place.has("runs/digits-lfnn-l-1"), "{args:?} left a folder");
}

#[test]
fn a_typo_names_the_key_the_line_and_the_nearest_key() {
    let place = Place::new();
    place.write(
        "mine.yaml",
        "training:\n  batch_size: 16\nnetwork:\n  units:\n    - layers:\n        - conv: {filters: 4, \
         kernel: 3}\n        - conv:\n            filtres: 4\n      workers: block\n",
    );
    place.fails(
        2,
        &["train", "digits", "--config", "mine.yaml"],
        "mine.yaml, line 8: network.units[0].layers[1].conv: unknown key `filtres`; did you mean \
         `filters`? (expected one of filters, kernel, stride, padding, groups, bias)",
    );
    place.write("other.yaml", "dataset: {name: digits}\ntrainning: {}\n");
    place.fails(
        2,
        &["train", "digits", "--config", "other.yaml"],
        "other.yaml, line 2: unknown key `trainning`; did you mean `training`? (expected one of \
         recipe, method, precision, seed, dataset, network, leadership, training, limits, checkpoints)",
    );
}

#[test]
fn a_value_of_the_wrong_kind_names_its_line() {
    let place = Place::new();
    let cases = [
        ("seed: soon", "line 1: seed: expected a whole number from 0 on, found `soon`"),
        ("seed: -1", "line 1: seed: expected a whole number from 0 on, found `-1`"),
        (
            "training:\n  epochs: 1.5",
            "line 2: training.epochs: expected a whole number from 0 on, found `1.5`",
        ),
        ("mnist", "line 1: expected a map of keys, found `mnist`"),
        ("- seed: 1", "line 1: expected a map of keys, found a list"),
        ("training: 7", "line 1: training: expected a map of keys, found `7`"),
        ("leadership: [0.7]", "line 1: leadership: expected a map of keys, found a list"),
        ("network:\n  units: 3", "line 2: network.units: expected a list, found `3`"),
        (
            "leadership: {followers_relay: maybe}",
            "line 1: leadership.followers_relay: expected true or false, found `maybe`",
        ),
        ("a: [", "line 2: not YAML: while parsing a node, did not find expected node content"),
        ("seed: 1\nseed: 2", "line 2: the key `seed` stands here twice"),
        (
            "network:\n  units:\n    - layers: [relu]",
            "line 3: network.units[0]: the key `workers` is missing",
        ),
        (
            "network:\n  units:\n    - layers: []\n      workers: {block: {}, readout: {count: 2}}",
            "line 4: network.units[0].workers: expected one key, found `block` and `readout`",
        ),
        (
            "network:\n  units:\n    - layers: [{relu: {slope: 1}}]\n      workers: block",
            "line 3: network.units[0].layers[0].relu: takes no keys",
        ),
        (
            "network:\n  units:\n    - layers: [conv]\n      workers: block",
            "line 3: network.units[0].layers[0].conv: the key `filters` is missing",
        ),
        (
            "leadership: {scope: bach}",
            "line 1: leadership.scope: unknown value `bach`; did you mean `batch`? (expected one of \
          batch, epoch, sample)",
        ),
    ];
    for (text, error) in cases {
        place.write("mine.yaml", text);
        let args = ["train", "digits", "--config", "mine.yaml"];
        place.fails(2, &args, &format!("mine.yaml, {error}"));
    }
}

#[test]
fn deep_nesting_and_aliases_of_aliases_are_refused() {
    let place = Place::new();
    place.write("deep.yaml", "[".repeat(70));
    let args = ["train", "digits", "--config", "deep.yaml"];
    place.fails(2, &args, "deep.yaml, line 1: nested deeper than 64 levels");
    for text in ["[".repeat(100_000), "- ".repeat(100_000)] {
        place.write("deep.yaml", text);
        assert_eq!(place.run(&args).code, Some(2));
    }
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 0..9 {
        let of = format!("*a{i}, ").repeat(10);
        text += &format!("a{}: &a{} [{of}]\n", i + 1, i + 1);
    }
    place.write("deep.yaml", text);
    let ended = place.run(&args);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("more than 100000 values"), "{}", ended.err);
}

#[test]
fn a_typo_on_the_command_line_repeats_what_was_typed() {
    refused(
        &["--set", "leadership.dleta=0.5"],
        "--set leadership.dleta=0.5: leadership: unknown key `dleta`; did you mean `delta`? \
         (expected one of delta, scope, reduction, align, reference, lambda, lambda1, lambda2, \
         followers_relay)",
    );
    refused(
        &["--method", "lfnnl"],
        "--method lfnnl: method: unknown value `lfnnl`; did you mean `lfnn-l`? (expected one of \
         bp, lg-bp, lfnn, fa, fg-w, fg-a, lg-fg-w, lg-fg-a, lfnn-l)",
    );
    refused(
        &["mnits-s"],
        "there is no recipe `mnits-s`; did you mean `mnist-s`? (`lfnn-cli recipes` lists them)",
    );
    refused(&["--set", "seed"], "--set seed: expected KEY=VALUE");
    refused(
        &["--set", "network.units.9.workers=block"],
        "--set network.units.9.workers=block: position 9 is beyond the end; the last one is 2, and \
         3 appends",
    );
    refused(
        &["--set", "network.units.first.workers=block"],
        "--set network.units.first.workers=block: `first` is no position; a number from 0 to 3 is \
         expected there",
    );
    refused(
        &["--set", "dataset.name=mnits"],
        "--set dataset.name=mnits: dataset.name: unknown value `mnits`; did you mean `mnist`? \
         (expected one of digits, mnist, fashion-mnist, cifar-10, cifar-100, tiny-imagenet, folder)",
    );
    refused(
        &["--config", "nowhere.yaml"],
        "nowhere.yaml: cannot read the configuration: No such file or directory (os error 2)",
    );
}

#[test]
fn impossible_networks_are_refused() {
    refused(
        &["--set", "network.units.0.layers.0.conv.kernel=99"],
        "network.units[0].layers[0]: a window of 99×99 with stride 1×1 and padding 1×1 does not \
         fit a 8×8 image",
    );
    refused(
        &["--set", "network.units.0.workers.readout.count=5"],
        "network.units[0].workers: 16 features cannot be shared evenly by 5 workers",
    );
    refused(
        &["--set", "network.task=binary"],
        "network.task: a binary task, but the data has 10 classes",
    );
    refused(
        &["--set", "network.task=regression"],
        "network.task: regression learns numbers, but the data sets have classes; `lfnn-cli step` \
         takes numbers as targets",
    );
}

#[test]
fn impossible_fractions_of_leaders_are_refused() {
    for delta in ["0", "1.01", "-0.5"] {
        refused(
            &["--set", &format!("leadership.delta={delta}")],
            &format!(
                "leadership.delta: {delta} is not a fraction of workers that can lead, expected \
                 above 0 and at most 1"
            ),
        );
    }
}

#[test]
fn impossible_numbers_of_examples_are_refused() {
    refused(
        &["--set", "training.batch_size=1243"],
        "training.batch_size: a batch of 1243 is larger than the 1242 training examples",
    );
    refused(
        &["--dry-run", "--set", "training.batch_size=1243"],
        "training.batch_size: a batch of 1243 is larger than the 1242 training examples",
    );
    refused(
        &["--set", "dataset.validation=1442"],
        "validation: found 1442 images to hold out; expected fewer than the 1442 there are",
    );
    refused(&["--epochs", "0"], "training.epochs: 0, expected at least 1");
    refused(&["--limit-batches", "0"], "limits.batches: 0, expected at least 1");
    refused(
        &["--set", "checkpoints.patience=2", "--set", "dataset.validation=0"],
        "checkpoints.patience: stops by the validation error, but `dataset.validation` holds no \
         image out",
    );
}

#[test]
fn a_folder_that_was_there_stays_when_training_cannot_begin() {
    let place = Place::new();
    std::fs::create_dir(place.path("mine")).unwrap();
    let args = ["train", "--out", "mine", "--set", "leadership.delta=2"];
    assert_eq!(place.run(&args).code, Some(2));
    assert_eq!(std::fs::read_dir(place.path("mine")).unwrap().count(), 0);
}

#[test]
fn an_unknown_command_or_option_is_refused() {
    let place = Place::new();
    for args in [&["trian"][..], &["train", "--epoch"], &[], &["eval"], &["completions", "csh"]] {
        assert_eq!(place.run(args).code, Some(2), "{args:?}");
    }
}
