//! Wrong command lines and configurations: each with its message, and exit code 2.

use std::time::{Duration, Instant};

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
        "mine.yaml, line 8, column 13: network.units[0].layers[1].conv: unknown key `filtres`; did you mean \
         `filters`? (expected one of filters, kernel, stride, padding, groups, bias)",
    );
    place.write("other.yaml", "dataset: {name: digits}\ntrainning: {}\n");
    place.fails(
        2,
        &["train", "digits", "--config", "other.yaml"],
        "other.yaml, line 2, column 1: unknown key `trainning`; did you mean `training`? (expected one of \
         recipe, method, precision, seed, dataset, network, init, leadership, training, limits, checkpoints)",
    );
}

#[test]
fn a_value_of_the_wrong_kind_names_its_line() {
    let place = Place::new();
    let cases = [
        ("seed: soon", "line 1, column 7: seed: expected a whole number from 0 on, found `soon`"),
        ("seed: -1", "line 1, column 7: seed: expected a whole number from 0 on, found `-1`"),
        (
            "training:\n  epochs: 1.5",
            "line 2, column 11: training.epochs: expected a whole number from 0 on, found `1.5`",
        ),
        (
            "training:\n  epochs: 32.0",
            "line 2, column 11: training.epochs: expected a whole number from 0 on, found `32.0`",
        ),
        (
            "training: {clip_norm: \"1e-3\"}",
            "line 1, column 23: training.clip_norm: expected a number, found `1e-3` in quotes, which is text: remove the quotes",
        ),
        (
            "leadership: {gradient_through_followers: 'true'}",
            "line 1, column 42: leadership.gradient_through_followers: expected true or false, found `true` in quotes, which is text: \
             remove the quotes",
        ),
        (
            "dataset: {path: 2024}",
            "line 1, column 17: dataset.path: expected text, found `2024`: put it in quotes",
        ),
        (
            "training: {clip_norm: nan}",
            "line 1, column 23: training.clip_norm: expected a number, found `nan`",
        ),
        (
            "training: {clip_norm: .inf}",
            "line 1, column 23: training.clip_norm: expected a number, found `.inf`",
        ),
        ("mnist", "line 1, column 1: expected a map of keys, found `mnist`"),
        ("- seed: 1", "line 1, column 1: expected a map of keys, found a list"),
        ("training: 7", "line 1, column 11: training: expected a map of keys, found `7`"),
        (
            "leadership: [0.7]",
            "line 1, column 13: leadership: expected a map of keys, found a list",
        ),
        ("network:\n  units: 3", "line 2, column 10: network.units: expected a list, found `3`"),
        (
            "leadership: {gradient_through_followers: maybe}",
            "line 1, column 42: leadership.gradient_through_followers: expected true or false, found `maybe`",
        ),
        ("a: [", "line 1, column 4: not YAML: unclosed bracket '['"),
        (
            "seed: 1\nseed: 2",
            "line 2, column 1: duplicate key `seed`; it is already at line 1, column 1",
        ),
        (
            "network:\n  units:\n    - layers: [relu]",
            "line 3, column 7: network.units[0]: the key `workers` is missing",
        ),
        (
            "network:\n  units:\n    - layers: []\n      workers: {block: {}, readout: {count: 2}}",
            "line 4, column 16: network.units[0].workers: expected one key, found `block` and `readout`",
        ),
        (
            "network:\n  units:\n    - layers: [{relu: {slope: 1}}]\n      workers: block",
            "line 3, column 23: network.units[0].layers[0].relu: takes no keys",
        ),
        (
            "network:\n  units:\n    - layers: [{max_pool: {kernel: wide}}]\n      workers: block",
            "line 3, column 36: network.units[0].layers[0].max_pool.kernel: expected a whole number from 0 on, or \
             [height, width], found `wide`",
        ),
        (
            "network:\n  units:\n    - layers: [{max_pool: {kernel: [1, wide]}}]\n      workers: block",
            "line 3, column 40: network.units[0].layers[0].max_pool.kernel[1]: expected a whole number from 0 on, \
             found `wide`",
        ),
        (
            "network:\n  units:\n    - layers: [{max_pool: {kernel: [1, 2, 3]}}]\n      workers: block",
            "line 3, column 36: network.units[0].layers[0].max_pool.kernel: expected a whole number from 0 on, or \
             [height, width], found 3 items",
        ),
        (
            "network:\n  units:\n    - layers: [conv]\n      workers: block",
            "line 3, column 16: network.units[0].layers[0].conv: the key `filters` is missing",
        ),
        (
            "leadership: {scope: bach}",
            "line 1, column 21: leadership.scope: unknown value `bach`; did you mean `batch`? (expected one of \
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
    place.write("deep.yaml", "- ".repeat(70));
    let args = ["train", "digits", "--config", "deep.yaml"];
    place.fails(2, &args, "deep.yaml, line 1, column 129: nested deeper than 64 levels");
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
         (expected one of delta, scope, reduction, align, reference, follower_labels, lambda, \
         lambda1, lambda2, gradient_through_followers)",
    );
    refused(
        &["--method", "lfnnl"],
        "--method lfnnl: method: unknown value `lfnnl`; did you mean `lfnn-l`? (expected one of \
         bp, lg-bp, lfnn, fa, fg-w, fg-a, lg-fg-w, lg-fg-a, lfnn-l, dfa, lg-fa)",
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
        "--set network.units.first.workers=block: `first` is not a position; expected a number \
         from 0 to 3",
    );
    let names = lfnn_data::DatasetName::ALL.map(lfnn_data::DatasetName::as_str).join(", ");
    refused(
        &["--set", "dataset.name=mnits"],
        &format!(
            "--set dataset.name=mnits: dataset.name: unknown value `mnits`; did you mean `mnist`? \
             (expected one of {names})"
        ),
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
        "--set network.task=regression: network.task: regression learns numbers, but the data set `digits` has \
         classes; `table` and `arrays` have numbers",
    );
}

#[test]
fn impossible_fractions_of_leaders_are_refused() {
    for delta in ["0", "1.01", "-0.5"] {
        refused(
            &["--set", &format!("leadership.delta={delta}")],
            &format!(
                "--set leadership.delta={delta}: leadership.delta: {delta}, expected above 0 and at \
                 most 1"
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
        "validation: found 1442 examples to hold out; expected fewer than 1442, the number to train on",
    );
    refused(
        &["--epochs", "0"],
        "--epochs 0: training.epochs: 0, expected at least 1 and at most 4294967295",
    );
    refused(&["--limit-batches", "0"], "--limit-batches 0: limits.batches: 0, expected at least 1");
    refused(
        &["--set", "checkpoints.patience=2", "--set", "dataset.validation=0"],
        "--set checkpoints.patience=2: checkpoints.patience: early stopping needs the validation error, but \
         `dataset.validation` holds out no images",
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

#[test]
fn texts_that_aliases_repeat_and_many_keys_are_refused_in_a_moment() {
    let place = Place::new();
    let begin = Instant::now();
    let args = ["train", "digits", "--config", "mine.yaml"];
    let refused = |text: &str, expected: &str| {
        place.write("mine.yaml", text);
        let ended = place.run(&args);
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains(expected), "{}", ended.err);
    };
    let long = "x".repeat(10_000);
    refused(
        &format!("a: &a {long}\nb: [{}]\n", "*a, ".repeat(5000)),
        "more than 1048576 bytes of text",
    );
    // Each alias is as deep as may be; together they would be deeper than any stack.
    let deep = |inside: &str| format!("{}{inside}{}", "[".repeat(60), "]".repeat(60));
    let mut text = format!("a0: &a0 {}\n", deep("x"));
    for i in 1..200 {
        text += &format!("a{i}: &a{i} {}\n", deep(&format!("*a{}", i - 1)));
    }
    refused(&text, "nested deeper than 64 levels");
    let keys: String = (0..49_000).map(|i| format!("k{i}: 1\n")).collect();
    refused(&keys, "unknown key `k0`");
    refused(
        &"x".repeat((1 << 20) + 1),
        "1.0 MiB are too large for a configuration; expected at most 1.0 MiB",
    );
    let path = vec!["0"; 30_000].join(".");
    let ended = place.run(&["train", "--set", &format!("network.{path}=1")]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.err.contains("a key of 30001 parts, expected at most 64"),
        "{}",
        &ended.err[..200]
    );
    assert!(begin.elapsed() < Duration::from_secs(180), "{:?}", begin.elapsed());
}

#[cfg(target_os = "linux")]
#[test]
fn a_configuration_that_never_ends_or_is_a_folder_is_refused() {
    let place = Place::new();
    std::fs::create_dir(place.path("folder")).unwrap();
    for (name, why) in [
        (
            "/dev/zero",
            "more than 1.0 MiB are too large for a configuration; expected at most 1.0 MiB",
        ),
        ("folder", "cannot read the configuration: Is a directory (os error 21)"),
    ] {
        let error = format!("{name}: {why}");
        place.fails(2, &["train", "--config", name], &error);
        place.fails(2, &["bench", "--config", name], &error);
        let weights = ["--weights", "w", "--batch", "b", "--out", "o"];
        place.fails(2, &[&["step", "--config", name][..], &weights].concat(), &error);
    }
}

#[cfg(unix)]
#[test]
fn a_configuration_may_come_through_a_pipe() {
    let script = format!(
        "echo 'seed: 3' | {} train --config /dev/stdin --dry-run",
        env!("CARGO_BIN_EXE_lfnn-cli")
    );
    let ended = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// What no training may have: the error of a dry run is that of a training, and of one without any data.
#[test]
fn a_dry_run_refuses_what_training_refuses_in_the_same_words() {
    let place = Place::new();
    let cases = [
        (
            "training.optimizer.adamw.lr=-1",
            "training.optimizer.adamw.lr: -1, expected a number above 0",
        ),
        ("training.optimizer.adamw.lr=0", "training.optimizer.adamw.lr: 0, expected"),
        (
            "training.optimizer.adamw.betas=[0.9, 1]",
            "training.optimizer.adamw.betas[1]: 1, expected",
        ),
        ("training.optimizer.adamw.epsilon=0", "training.optimizer.adamw.epsilon: 0, expected"),
        ("training.optimizer.adamw.weight_decay=-1", "training.optimizer.adamw.weight_decay: -1"),
        ("training.optimizer={sgd: {lr: 1, momentum: 1}}", "training.optimizer.sgd.momentum: 1"),
        ("training.optimizer={sgd: {lr: 1, nesterov: true}}", "training.optimizer.sgd.momentum: 0"),
        ("training.schedule={one_cycle: {warmup: 7}}", "training.schedule.one_cycle.warmup: 7"),
        ("training.schedule={one_cycle: {start_divisor: 0}}", "training.schedule.one_cycle.start"),
        ("training.schedule={one_cycle: {end_divisor: -1}}", "training.schedule.one_cycle.end_di"),
        ("training.schedule={cosine: {floor: 2}}", "training.schedule.cosine.floor: 2"),
        ("training.schedule={cosine: {warmup_epochs: -1}}", "training.schedule.cosine.warmup_ep"),
        ("training.schedule={linear: {floor: 2}}", "training.schedule.linear.floor: 2"),
        ("training.schedule={linear: {warmup_epochs: -1}}", "training.schedule.linear.warmup_ep"),
        ("training.schedule={step: {epochs: 0, gamma: 1}}", "training.schedule.step.epochs: 0"),
        ("training.schedule={step: {epochs: 1, gamma: 0}}", "training.schedule.step.gamma: 0"),
        (
            "training.label_smoothing=5",
            "training.label_smoothing: 5, expected at least 0 and below 1",
        ),
        ("training.output_lr_factor=-1", "training.output_lr_factor: -1, expected a number above"),
        ("training.clip_norm=-1", "training.clip_norm: -1, expected a number above 0"),
        ("training.epochs=0", "training.epochs: 0, expected at least 1"),
        (
            "training.epochs=9000000000",
            "training.epochs: 9000000000, expected at least 1 and at most 4294967295",
        ),
        ("training.epochs=4294967295", "training.epochs: 4294967295 of 38 steps, expected at most"),
        ("training.batch_size=0", "training.batch_size: 0, expected at least 1"),
        ("training.batch_size=1243", "training.batch_size: a batch of 1243 is larger than"),
        ("training.batch_size=18446744073709551615", "training.batch_size: a batch of 1844674407"),
        ("dataset.validation=1442", "validation: found 1442 examples to hold out"),
        ("dataset.validation=18446744073709551615", "validation: found 18446744073709551615"),
        ("dataset.augmentation.crop_padding=9223372036854775808", "dataset.augmentation.crop_padd"),
        (
            "dataset.augmentation.cutout=65536",
            "dataset.augmentation.cutout: 65536, expected at least 0 and at most 65535",
        ),
        ("leadership.delta=2", "leadership.delta: 2, expected above 0 and at most 1"),
        ("leadership.lambda=-1", "leadership.lambda: -1, expected at least 0"),
        ("leadership.lambda1=-1", "leadership.lambda1: -1, expected at least 0"),
        ("limits.batches=0", "limits.batches: 0, expected at least 1"),
        ("limits.overfit_batches=0", "limits.overfit_batches: 0, expected at least 1"),
        ("checkpoints.every_batches=0", "checkpoints.every_batches: 0, expected at least 1"),
        (
            "checkpoints.every_seconds=-1",
            "checkpoints.every_seconds: -1, expected a number above 0",
        ),
        ("checkpoints.patience=0", "checkpoints.patience: 0, expected at least 1"),
        ("precision=bf16", "`precision` is bf16, but the CPU computes only in f32"),
        (
            "network.units.0.layers.1.batch_norm.epsilon=0",
            "network.units[0].layers[1]: an epsilon of",
        ),
        (
            "network.units.0.layers.0.conv.filters=9223372036854775808",
            "network.units[0].layers[0].",
        ),
        (
            "network.units.0.layers.0.conv.padding=9223372036854775808",
            "network.units[0].layers[0].",
        ),
        (
            "network.units.0.layers.0.conv.padding=2305843009213693953",
            "network.units[0].layers[0].",
        ),
        (
            "network.units.0.workers={block: {count: 4294967296}}",
            "network.units[0].workers.block.count",
        ),
        (
            "network.units.0.workers={block: {count: 1000000000000000000}}",
            "network.units[0].workers.b",
        ),
        (
            "network.units.0.workers={readout: {count: 4, grid: 4294967296}}",
            "network.units[0].workers",
        ),
    ];
    for (set, expected) in cases {
        let run = |more: &[&str]| {
            let args = [&["train", "--backend", "cpu", "--set", set, "--out", "run"][..], more];
            place.run(&args.concat())
        };
        let (trained, shown) = (run(&[]), run(&["--dry-run"]));
        assert_eq!(
            (trained.code, shown.code),
            (Some(2), Some(2)),
            "{set}: {}\n{}",
            trained.err,
            shown.err
        );
        // What can be checked without the network names its origin too.
        let message = trained.err.strip_prefix("error: ").unwrap();
        let message = message.strip_prefix(&format!("--set {set}: ")).unwrap_or(message);
        assert!(message.starts_with(expected), "{set}: {}", trained.err);
        assert_eq!(trained.err, shown.err, "{set}");
        assert_eq!(shown.out, "", "{set}");
        assert!(!place.has("run"), "{set} left a folder");
    }
}

#[test]
fn one_example_for_a_batch_normalisation_of_vectors_is_a_mistake_of_the_batch_size() {
    let place = Place::new();
    place.write(
        "mine.yaml",
        "network:\n  units:\n    - layers: [flatten, {linear: {features: 8}}, batch_norm]\n      workers: \
         {readout: {count: 2}}\n",
    );
    for more in [&[][..], &["--dry-run"]] {
        let args = ["train", "digits", "--config", "mine.yaml", "--set", "training.batch_size=1"];
        let ended = place.run(&[&args[..], more].concat());
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        let start = "error: training.batch_size: 1, expected at least 2: the batch normalisation at \
                     network.units[0].layers[2]";
        assert!(ended.err.starts_with(start), "{}", ended.err);
    }
}

#[test]
fn a_network_beyond_this_machines_memory_is_shown_and_not_trained() {
    let place = Place::new();
    let sets = [
        "--set",
        "network.units.0.layers.0.conv.padding=2000",
        "--set",
        "network.units.0.workers={block: {grid: 1}}",
    ];
    let args = [&["train", "--backend", "cpu", "--limit-batches", "1"][..], &sets].concat();
    let shown = place.ok(&[&args[..], &["--dry-run"]].concat());
    let sum = shown.lines().find(|line| line.starts_with("sum  ") && line.contains("iB")).unwrap();
    assert!(sum.contains("GiB"), "{shown}");
    let ended = place.run(&args);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("this network needs "), "{}", ended.err);
    assert!(ended.err.contains("; this machine has "), "{}", ended.err);
    assert!(!place.has("runs/digits-lfnn-l-1"));
}
