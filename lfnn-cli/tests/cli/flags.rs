//! One test for each flag.

use std::process::Command;

use lfnn_core::method;

use super::support::{Place, SMALL, small_mnist};

#[test]
fn help_and_version_are_printed() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    for command in [
        "train",
        "eval",
        "predict",
        "plot",
        "report",
        "reproduce",
        "step",
        "recipes",
        "config",
        "data",
        "devices",
    ] {
        assert!(help.contains(command), "{help}");
    }
    let help = place.ok(&["train", "--help"]);
    assert!(help.contains("metrics.jsonl"));
    let listed = method::names().join(", ");
    assert!(help.split_whitespace().collect::<Vec<_>>().join(" ").contains(&listed), "{help}");
    assert_eq!(place.ok(&["--version"]), format!("lfnn-cli {}\n", env!("CARGO_PKG_VERSION")));
}

/// Whether this machine runs the CUDA backend. A test of what is said where it does not is then skipped.
fn has_gpu(place: &Place) -> bool {
    let has = place.ok(&["devices"]).lines().any(|line| line.starts_with("cuda:0  yes"));
    if has {
        println!("skipped: this machine has a GPU that works");
    }
    has
}

#[test]
fn backend_auto_says_in_one_line_what_it_took() {
    let place = Place::new();
    let out = place.train(&["--backend", "auto"]);
    let lines: Vec<&str> = out.lines().filter(|line| line.starts_with("backend: ")).collect();
    assert_eq!(lines.len(), 1, "{out}");
    assert!(lines[0].contains("(auto"), "{out}");
    if !has_gpu(&place) {
        assert!(lines[0].starts_with("backend: cpu, ") && lines[0].contains("(auto: "), "{out}");
    }
}

#[test]
fn backend_cpu_is_the_cpu() {
    let out = Place::new().train(&["--backend", "cpu", "--threads", "1"]);
    assert!(out.contains("backend: cpu, 1 thread\n"), "{out}");
}

#[test]
fn backend_cuda_without_a_gpu_ends_with_the_reason() {
    let place = Place::new();
    if has_gpu(&place) {
        return;
    }
    for backend in ["cuda", "cuda:1"] {
        let ended = place.run(&["train", "--backend", backend]);
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        assert!(ended.err.starts_with("error: ") && ended.err.contains("NVIDIA"), "{}", ended.err);
        assert!(ended.err.contains("`--backend cpu` runs on the CPU"), "{}", ended.err);
    }
    assert!(!place.has("runs/digits-lfnn-l-1"), "nothing was trained, so nothing is left");
}

#[test]
fn an_unknown_backend_is_told_the_known_ones() {
    for wrong in ["gpu", "cuda:x"] {
        let ended = Place::new().run(&["train", "--backend", wrong]);
        assert_eq!(ended.code, Some(2));
        assert!(ended.err.contains("auto, cpu, cuda or cuda:ORDINAL"), "{}", ended.err);
    }
}

#[test]
fn precision_is_checked_against_the_backend() {
    let place = Place::new();
    let ended = place.run(&["train", "--backend", "cpu", "--precision", "bf16"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("the CPU computes only in f32"), "{}", ended.err);
    let ended = place.run(&["train", "--precision", "f64"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("f32") && ended.err.contains("bf16"), "{}", ended.err);
    if !has_gpu(&place) {
        let ended = place.run(&["train", "--set", "precision=tf32"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.err.contains("`precision` is tf32, which needs a GPU"), "{}", ended.err);
    }
    place.train(&["--precision", "f32", "--out", "run"]);
    assert_eq!(place.json("run/summary.json")["precision"], "f32");
}

#[test]
fn threads_are_limited_and_never_none() {
    let place = Place::new();
    assert!(place.train(&["--threads", "2"]).contains("cpu, 2 threads"));
    let ended = place.run(&["train", "--threads", "0"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("'0' for '--threads <N>': expected at least 1"), "{}", ended.err);
}

#[test]
fn numbers_of_threads_lanes_jobs_and_seeds_have_a_limit_that_is_told_with_its_reason() {
    let place = Place::new();
    let most = lfnn_cpu::max_threads();
    let threads = format!("expected at most {most}: four for each that this machine runs at once");
    let streams = "expected at most 64: each stream has scratch memory of its own".to_owned();
    for (command, option, value, expected) in [
        ("train", "--threads", "3000000", &threads),
        ("train", "--threads", "18446744073709551615", &threads),
        ("train", "--streams", "65", &streams),
        ("train", "--streams", "1000000000", &streams),
        ("train", "--streams", "18446744073709551615", &streams),
        ("reproduce", "--jobs", "1000000", &threads),
        (
            "reproduce",
            "--seeds",
            "1001",
            &"expected at most 1000: each seed is a full training".to_owned(),
        ),
    ] {
        let target = if command == "reproduce" { "table1" } else { "digits" };
        let ended = place.run(&[command, target, "--dry-run", option, value]);
        assert_eq!(ended.code, Some(2), "{option} {value}: {}", ended.err);
        assert!(ended.err.contains(&format!("'{value}' for '{option} <N>'")), "{}", ended.err);
        assert!(ended.err.contains(expected), "{}", ended.err);
    }
    place.train(&["--threads", "7", "--streams", "64"]);
}

#[test]
fn a_dry_run_of_many_units_takes_a_moment() {
    let place = Place::new();
    let unit = "    - {layers: [{conv: {filters: 16, kernel: 3, padding: 1}}, batch_norm, relu], \
                workers: {readout: {count: 4, grid: 2}}}\n";
    place.write("mine.yaml", format!("network:\n  units:\n{}", unit.repeat(1200)));
    let begin = std::time::Instant::now();
    let args = ["train", "digits", "--config", "mine.yaml", "--dry-run", "--backend", "cpu"];
    let out = place.ok(&args);
    assert!(out.contains("\n1200  8×8×16"), "{out}");
    // Some seconds. With time that grows with the square of the units it would be two minutes.
    assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
}

#[test]
fn verbose_shows_the_leaders_of_every_epoch_and_when_the_first_step_was_done() {
    let place = Place::new();
    let led = |out: &str| out.matches("how often each was a leader in epoch").count();
    let first = |out: &str| out.matches("ms after the program began").count();
    let (normal, verbose) = (place.train(&[]), place.train(&["-v"]));
    assert_eq!((led(&normal), led(&verbose)), (1, 3));
    assert_eq!((first(&normal), first(&verbose)), (0, 1));
}

#[test]
fn quiet_tells_the_result_alone() {
    let out = Place::new().train(&["-q"]);
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(out.starts_with("test error: ") && out.ends_with(" %\n"), "{out}");
}

#[test]
fn config_schema_prints_the_json_schema() {
    let schema = Place::new().ok(&["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let delta = &schema["definitions"]["LeadershipConfig"]["properties"]["delta"];
    assert_eq!((&delta["default"], &delta["maximum"]), (&0.7.into(), &1.into()));
}

#[test]
fn quiet_and_verbose_exclude_each_other() {
    let ended = Place::new().run(&["-q", "-v", "devices"]);
    assert_eq!(ended.code, Some(2));
}

#[test]
fn a_recipe_and_a_method_are_chosen_side_by_side() {
    let place = Place::new();
    for method in method::names() {
        let out = place.train(&["digits", "--method", method]);
        assert!(out.starts_with(&format!("digits · {method} · seed 1")), "{out}");
        let summary = place.json(&format!("runs/digits-{method}-1/summary.json"));
        assert_eq!(summary["method"], method);
    }
}

#[test]
fn config_is_laid_over_the_recipe() {
    let place = Place::new();
    place.write("mine.yaml", "training:\n  batch_size: 16\nleadership: {delta: 0.25}\n");
    place.train(&["digits", "--config", "mine.yaml"]);
    let config = place.text("runs/digits-lfnn-l-1/config.yaml");
    assert!(config.contains("batch_size: 16") && config.contains("delta: 0.25"), "{config}");
    assert!(config.contains("lr: 0.003"), "the recipe's own settings stay: {config}");
}

#[test]
fn config_alone_is_a_whole_configuration_named_after_its_file() {
    let place = Place::new();
    place.train(&["--out", "one"]);
    let resolved = place.text("one/config.yaml").replace("recipe: digits", "");
    place.write("mine.yaml", resolved);
    place.train(&["--config", "mine.yaml"]);
    assert!(place.has("runs/mine-lfnn-l-1/summary.json"));
    let (a, b) = (place.text("one/config.yaml"), place.text("runs/mine-lfnn-l-1/config.yaml"));
    assert_eq!(a.replace("recipe: digits", "recipe: mine"), b);
}

#[test]
fn config_without_a_recipe_and_a_network_builds_on_digits() {
    let place = Place::new();
    place.write("seed.yaml", "seed: 3\n");
    place.train(&["--config", "seed.yaml"]);
    place.train(&["digits", "--seed", "3", "--out", "named"]);
    assert_eq!(place.text("runs/digits-lfnn-l-3/config.yaml"), place.text("named/config.yaml"));
    // Images alone do not make a network: that of the digits takes them.
    small_mnist(&place, "data");
    place.write(
        "images.yaml",
        "dataset: {name: mnist, validation: 10}\ntraining: {batch_size: 16}\n",
    );
    let out =
        place.ok(&["train", "--config", "images.yaml", "--data-dir", "data", "--epochs", "1"]);
    assert!(out.contains("data: mnist, "), "{out}");
    let described = place.ok(&["bench", "--config", "seed.yaml", "--describe"]);
    assert!(described.contains("\"recipe\": \"mnist-s\""), "`bench` has its own: {described}");
    place.write("empty.yaml", "");
    place.train(&["--config", "empty.yaml", "--out", "empty"]);
}

#[test]
fn set_reaches_every_key_and_the_last_one_wins() {
    let place = Place::new();
    place.train(&[
        "--set",
        "network.units.0.workers.readout.count=8",
        "--set",
        "network.units.1.transition=[]",
        "--set",
        "network.units.0.layers.1=batch_norm",
        "--set",
        "network.output.layers.0=global_avg_pool",
        "--set",
        "training.schedule.cosine.floor=0.1",
        "--set",
        "training.optimizer.sgd.lr=0.5",
        "--set",
        "training.optimizer.sgd.lr=0.25",
        "--set",
        "checkpoints.every_seconds=",
    ]);
    let config = place.text("runs/digits-lfnn-l-1/config.yaml");
    for line in [
        "workers:\n      readout:\n        count: 8\n        grid: 4\n",
        "output:\n    layers:\n    - global_avg_pool\n",
        "schedule:\n    cosine:\n      warmup_epochs: 0.0\n      floor: 0.1\n",
        "lr: 0.25",
        "every_seconds: null",
    ] {
        assert!(config.contains(line), "`{line}` in\n{config}");
    }
    assert!(!config.contains("adamw"), "another optimiser replaces the recipe's:\n{config}");
}

#[test]
fn data_dir_and_its_variable_hold_the_data_sets() {
    let place = Place::new();
    small_mnist(&place, "data");
    let mut args = vec!["train", "mnist-s-filters", "--data-dir", "data"];
    args.extend(SMALL);
    assert!(place.ok(&args).contains("54 training, 10 validation and 20 test images"));

    let mut command = place.command(&["data", "list"]);
    let output = command.env("LFNN_DATA_DIR", place.path("data")).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let line = out.lines().find(|line| line.starts_with("mnist")).unwrap().to_owned();
    assert!(line.contains("there") && line.contains("64") && line.contains("20"), "{out}");
}

#[test]
fn out_is_the_folder_of_the_run() {
    let place = Place::new();
    assert!(place.train(&["--out", "deep/er"]).contains("results: deep/er\n"));
    assert!(place.has("deep/er/checkpoints/last.safetensors"));
    assert!(!place.has("runs"));
}

#[test]
fn seed_changes_the_weights_and_the_default_folder() {
    let place = Place::new();
    place.train(&["--seed", "7"]);
    place.train(&["--seed", "8"]);
    let weights =
        |seed| place.bytes(&format!("runs/digits-lfnn-l-{seed}/checkpoints/last.safetensors"));
    assert_ne!(weights(7), weights(8));
}

#[test]
fn epochs_is_the_number_of_lines() {
    let place = Place::new();
    place.ok(&["train", "--epochs", "3", "--limit-batches", "2"]);
    assert_eq!(place.text("runs/digits-lfnn-l-1/metrics.jsonl").lines().count(), 3);
}

#[test]
fn limit_batches_is_a_part_of_each_epoch() {
    let place = Place::new();
    place.train(&[]);
    let summary = place.json("runs/digits-lfnn-l-1/summary.json");
    assert_eq!(summary["examples"], 2 * 6 * 32);
}

#[test]
fn overfit_batches_learns_a_few_images_by_heart() {
    let place = Place::new();
    place.ok(&["train", "--overfit-batches", "2", "--epochs", "60"]);
    let summary = place.json("runs/digits-lfnn-l-1/summary.json");
    assert_eq!(summary["train_error"], 0.0);
    assert_eq!(summary["examples"], 60 * 2 * 32);
    assert_eq!(
        place.run(&["train", "--overfit-batches", "2", "--limit-batches", "2"]).code,
        Some(2)
    );
}

#[test]
fn dry_run_shows_every_recipe_without_data_and_leaves_nothing() {
    let place = Place::new();
    let names = place.ok(&["recipes"]);
    for (class, grey) in [("a", "1"), ("b", "2")] {
        for copy in 0..3 {
            place.write(&format!("images/{class}/{copy}.pgm"), format!("P2 1 1 255 {grey}{copy}"));
        }
    }
    for name in names.lines().filter_map(|line| line.split_whitespace().next()) {
        // A folder of images is the user's own.
        let own = ["dataset.path=images", "dataset.validation=0", "training.batch_size=2"];
        let own = own.iter().flat_map(|set| ["--set", set]).filter(|_| name == "imagenet-subset");
        let train: Vec<&str> = ["train", name, "--dry-run"].into_iter().chain(own).collect();
        let out = place.ok(&train);
        assert!(out.lines().skip(2).all(|line| line.chars().count() <= 90), "{name}: {out}");
        for word in ["unit", "leaders", "head", "gradient", "memory", "lfnn-l", "bp"] {
            assert!(out.contains(word), "{name}: {out}");
        }
        for method in method::names() {
            let out = place.ok(&[&train[..], &["--method", method]].concat());
            assert!(out.starts_with(&format!("{name} · {method}: ")), "{out}");
        }
    }
    assert!(!place.has("runs"));
    // As many as the published networks have, heads included.
    for (name, parameters, heads, all) in [
        ("localmixer-s", "269,322", "2,570", 271_892),
        ("localmixer-m", "423,946", "5,130", 429_076),
        ("localmixer-cifar10", "898,250", "20,520", 918_770),
    ] {
        let out = place.ok(&["train", name, "--dry-run"]);
        assert!(out.contains(parameters) && out.contains(heads), "{name}: {out}");
        let sum: usize =
            [parameters, heads].iter().map(|n| n.replace(',', "").parse::<usize>().unwrap()).sum();
        assert_eq!(sum, all, "{name}");
    }
    let out = place.ok(&["train", "digits", "--dry-run"]);
    assert!(out.contains("     1         176       2,600\n"), "{out}");
    assert!(out.contains("\n   1  conv 3×3, 16"), "{out}");
    assert!(out.contains("layer-wise"), "{out}");
    // With more threads more is under way, as the CPU backend plans it.
    let activations = |threads: &str| -> f64 {
        let out = place.ok(&["train", "digits", "--dry-run", "--threads", threads]);
        let mut lines = out.lines().skip_while(|line| !line.starts_with("memory, batches of 32"));
        assert!(lines.next().unwrap().contains(&format!("{threads} thread")), "{out}");
        let line = lines.find(|line| line.starts_with("activations, gradients")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[3], "KiB", "{out}");
        words[2].parse().unwrap()
    };
    assert!(activations("1") < activations("2"));
    assert!(place.ok(&["train", "mnist-block", "--dry-run"]).contains("block-wise"));
    let bp = place.ok(&["train", "digits", "--dry-run", "--method", "bp"]);
    assert!(bp.contains("4 layers with weights; the global gradient crosses every unit"), "{bp}");
    let forwards = place.ok(&["train", "digits", "--dry-run", "--method", "lg-fg-w"]);
    let path = "derivative depth, forwards: at most 1 layer with weights, inside a unit";
    assert!(forwards.contains(path), "{forwards}");
    // Perturbed outputs have less noise where parts of them have derivatives of their own.
    assert!(!forwards.contains("perturbed output"), "{forwards}");
    let parts = place.ok(&["train", "digits", "--dry-run", "--method", "lg-fg-a"]);
    assert!(parts.contains("a derivative for each image × "), "{parts}");
    let parts = place.ok(&["train", "mnist-mlp", "--dry-run", "--method", "fg-a"]);
    assert!(parts.contains("perturbed outputs: a derivative for each image\n"), "{parts}");
}

#[test]
fn recipes_lists_and_prints() {
    let place = Place::new();
    let names = place.ok(&["recipes"]);
    assert_eq!(names.lines().count(), 20);
    assert!(place.ok(&["recipes", "mnist-s"]).contains("batch_size: 128"));
    place.fails(
        2,
        &["recipes", "mnist_s"],
        "there is no recipe `mnist_s`; did you mean `mnist-s`?",
    );
}

#[test]
fn data_list_fetch_and_verify() {
    let place = Place::new();
    assert!(place.ok(&["data", "list"]).contains("`lfnn-cli data fetch cifar-10` downloads it"));
    assert!(place.ok(&["data", "verify", "digits"]).ends_with("all files are correct\n"));
    assert!(place.ok(&["data", "verify"]).contains("1797 images"));
    place.fails(2, &["data", "fetch", "digits"], "digits cannot be fetched; it is compiled in");
    let ended = place.run(&["data", "fetch", "mnits"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.ends_with("did you mean `mnist`?\n"), "{}", ended.err);
}

#[test]
fn data_verify_names_every_wrong_file() {
    let place = Place::new();
    small_mnist(&place, "data");
    let ended = place.run(&["data", "verify", "mnist", "--data-dir", "data"]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.out.matches("WRONG mnist").count(), 4, "{}", ended.out);
    assert_eq!(ended.err, "error: 4 files are wrong or missing\n");
}

#[test]
fn devices_says_what_runs_here_and_why_the_others_do_not() {
    let out = Place::new().ok(&["devices"]);
    assert!(out.starts_with("cpu") && out.contains(" yes  "), "{out}");
    let level = lfnn_cpu::Cpu::new(Some(1)).unwrap().level();
    assert!(out.lines().next().is_some_and(|line| line.ends_with(&format!(", {level}"))), "{out}");
    for library in ["NVRTC", "cuBLASLt"] {
        assert!(out.contains(library), "{out}");
    }
    let about = out.lines().find(|line| line.starts_with("cuda")).unwrap_or_default();
    assert!(about.contains("compute capability") || about.contains("NVIDIA"), "{out}");
}

#[test]
fn an_environment_variable_selects_the_instructions_of_the_cpu() {
    let place = Place::new();
    let run = |level: &str, args: &[&str]| {
        let output = place.command(args).env("LFNN_CPU_LEVEL", level).output().unwrap();
        (
            output.status.code(),
            [output.stdout, output.stderr].map(|o| String::from_utf8(o).unwrap()),
        )
    };
    let (code, [out, _]) = run("portable", &["devices"]);
    assert!(code == Some(0) && out.lines().next().unwrap().ends_with(", portable"), "{out}");
    let short = ["train", "--backend", "cpu", "--epochs", "1", "--limit-batches", "2"];
    let (code, [_, err]) = run("portable", &short);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let (code, [_, err]) = run("sse9", &short);
    let expected = "error: LFNN_CPU_LEVEL is `sse9`; expected one that this machine has: ";
    assert!(code == Some(2) && err.starts_with(expected), "{err}");
    // The list says why there is no CPU.
    let (code, [out, _]) = run("sse9", &["devices"]);
    assert!(code == Some(0) && out.contains("LFNN_CPU_LEVEL is `sse9`"), "{out}");
}

#[test]
fn completions_are_printed_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(place.ok(&["completions", shell]).contains("lfnn-cli"), "{shell}");
    }
}

/// Asks a real bash for the words that could follow, as its Tab key does.
#[test]
fn bash_completes_commands_options_and_names() {
    const ASK: &str = r#"
source completions.bash
words=("$@")
COMP_WORDS=("${words[@]}"); COMP_CWORD=$((${#words[@]} - 1))
function=$(complete -p lfnn-cli | sed 's/.*-F \([^ ]*\).*/\1/')
$function lfnn-cli "${words[COMP_CWORD]}" "${words[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;
    if Command::new("bash").arg("--version").output().is_err() {
        eprintln!("skipped: there is no bash here to complete the command line");
        return;
    }
    let place = Place::new();
    place.write("completions.bash", place.ok(&["completions", "bash"]));
    let complete = |words: &[&str]| -> Vec<String> {
        let mut bash = Command::new("bash");
        bash.args(["-c", ASK, "bash", "lfnn-cli"]).args(words).current_dir(place.path("."));
        let out = bash.output().unwrap();
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
    };
    assert_eq!(complete(&["tra"]), ["train"]);
    assert_eq!(complete(&["train", "--meth"]), ["--method"]);
    assert_eq!(complete(&["train", "--method", "lfnn"]), ["lfnn", "lfnn-l"]);
    assert_eq!(complete(&["train", "--precision", "b"]), ["bf16"]);
    assert_eq!(complete(&["train", "mnist-f"]), ["mnist-fc"]);
    assert_eq!(complete(&["data", "fet"]), ["fetch"]);
    assert_eq!(complete(&["data", "fetch", "fash"]), ["fashion-mnist"]);
    assert_eq!(complete(&["reproduce", "table2"]), ["table2"]);
    assert_eq!(complete(&["bench", "--recipe", "cifar10-b"]), ["cifar10-block"]);
}

#[test]
fn a_configuration_may_begin_with_a_byte_order_mark() {
    let place = Place::new();
    place.write("mine.yaml", "\u{feff}recipe: digits\nseed: 3\n");
    place.train(&["--config", "mine.yaml", "--out", "run"]);
    assert_eq!(place.json("run/summary.json")["seed"], 3);
    // A configuration that a user has opened may have been saved with the mark.
    place.write("run/config.yaml", format!("\u{feff}{}", place.text("run/config.yaml")));
    place.ok(&["train", "--resume", "--out", "run", "--set", "training.epochs=2"]);
}
