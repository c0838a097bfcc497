//! `data`, and what training says about folders of images.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::support::{Ended, Place};

/// A grey image of 8 × 8, as PGM.
fn grey() -> Vec<u8> {
    [&b"P5\n8 8\n255\n"[..], &[7; 64]].concat()
}

/// A coloured image of 8 × 8 with 16 bits per channel, as PPM.
fn deep() -> Vec<u8> {
    [&b"P6\n8 8\n65535\n"[..], &[7; 8 * 8 * 6]].concat()
}

/// A folder of two classes with an image each in both sets.
fn pets(place: &Place) {
    for path in ["train/cat/1.pgm", "train/dog/1.ppm", "test/cat/1.pgm", "test/dog/1.ppm"] {
        let bytes = if path.ends_with("pgm") { grey() } else { deep() };
        place.write(&format!("pets/{path}"), bytes);
    }
    place.write("pets/train/cat/scan.tif", "an image of a format that is not read");
}

const NOTES: &str = "\
note: left out 1 file of train/: 1 .tif (first: train/cat/scan.tif)
note: 2 of 4 images are grey; they train as RGB
note: 2 of 4 files have 16 bits per channel; all images train with real numbers (`dataset.bits: 8` trains with bytes)
";

/// Trains on the folder.
fn train(place: &Place, args: &[&str]) -> Ended {
    let mut all = vec!["train", "digits", "--epochs", "1"];
    for set in [
        "dataset.name=folder",
        "dataset.path=pets",
        "dataset.validation=0",
        "training.batch_size=2",
    ] {
        all.extend(["--set", set]);
    }
    all.extend(args);
    place.run(&all)
}

#[test]
fn training_on_a_folder_notes_what_is_left_out_or_changed() {
    let place = Place::new();
    pets(&place);
    let ended = train(&place, &["--out", "run"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), NOTES));
    let ended = train(&place, &["--out", "quiet", "--quiet"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn a_folder_of_images_is_verified_by_its_path() {
    let place = Place::new();
    pets(&place);
    let ended = place.run(&["data", "verify", "folder", "pets"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), NOTES));
    assert!(ended.out.ends_with("all files are correct\n"), "{}", ended.out);

    place.write("pets/train/dog/2.ppm", &deep()[..100]);
    let ended = place.run(&["data", "verify", "folder", "pets"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.ends_with("error: 1 file is wrong or missing\n"), "{}", ended.err);
    let wrong: Vec<&str> = ended.out.lines().filter(|line| !line.starts_with("ok")).collect();
    let [line] = wrong[..] else { panic!("{}", ended.out) };
    let start = "WRONG folder train/dog/2.ppm: cannot be decoded; expected a whole JPEG, PNG, BMP, \
                 GIF, WebP or PNM image: ";
    let cause = line.strip_prefix(start).unwrap_or_else(|| panic!("{line}"));
    assert!(!cause.contains("2.ppm"), "{cause}");
    let halves: Vec<&str> = cause.split(": ").collect();
    assert!(halves.windows(2).all(|pair| pair[0] != pair[1]), "{cause}");
}

/// Asserts that so many lines begin so, and that none says a thing twice.
fn assert_one_line_each(text: &str, count: usize, start: &str) {
    assert_eq!(text.lines().count(), count, "{text}");
    for line in text.lines() {
        assert!(line.starts_with(start), "{line}");
        let parts: Vec<&str> = line.split(": ").collect();
        let twice = parts.iter().enumerate().any(|(at, part)| parts[..at].contains(part));
        assert!(!twice, "{line}");
    }
}

#[test]
fn every_broken_image_has_one_line_in_which_nothing_is_said_twice() {
    let place = Place::new();
    pets(&place);
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lfnn-data/tests/data/images");
    let mut broken = Vec::new();
    for sample in fs::read_dir(samples).unwrap() {
        let sample = sample.unwrap();
        let bytes = fs::read(sample.path()).unwrap();
        for (at, length) in [0, 1, 12, 20, 40, bytes.len() / 2].into_iter().enumerate() {
            let name = sample.file_name().into_string().unwrap();
            broken.push(format!("pets/train/cat/{at}-{name}"));
            place.write(&broken[broken.len() - 1], &bytes[..length]);
        }
    }
    let ended = place.run(&["data", "verify", "folder", "pets", "--quiet"]);
    assert_one_line_each(&ended.out, broken.len(), "WRONG folder train/cat/");

    place.train(&["--out", "run"]);
    let images = broken.iter().map(String::as_str);
    let args: Vec<&str> = ["predict", "run"].into_iter().chain(images).collect();
    assert_one_line_each(&place.run(&args).err, broken.len(), "error: pets/train/cat/");
}

#[test]
fn what_is_no_folder_of_images_is_told() {
    let place = Place::new();
    place.fails(
        2,
        &["data", "verify", "folder"],
        "data verify folder: expected the path of a folder of images: `lfnn-cli data verify folder \
         PATH`",
    );
    let own = "an image folder is your own: train/CLASS/ and test/CLASS/ with image files, or CLASS/ alone";
    place.fails(
        1,
        &["data", "verify", "folder", "nowhere"],
        &format!("nowhere: not found; expected a folder of images; {own}"),
    );
    place.write("file.png", "");
    let message = format!("file.png: it is a file; expected a folder of images; {own}");
    place.fails(1, &["data", "verify", "folder", "file.png"], &message);
    let sets = ["--set", "dataset.name=folder", "--set", "dataset.path=file.png"];
    place.fails(1, &[&["train", "digits"][..], &sets].concat(), &message);
    place.fails(
        2,
        &["data", "verify", "digits", "nowhere"],
        "nowhere: digits is compiled in; expected no path",
    );
}

#[test]
fn a_data_set_elsewhere_is_verified_by_its_path() {
    let place = Place::new();
    super::support::small_mnist(&place, "data");
    let ended = place.run(&["data", "verify", "mnist", "data/mnist"]);
    assert_eq!(ended.err, "error: 4 files are wrong or missing\n");
    assert!(ended.out.contains("found 50192 bytes; expected 47040016"), "{}", ended.out);
}

#[test]
fn a_folder_without_files_is_listed_as_missing_with_the_way_to_get_them() {
    let place = Place::new();
    fs::create_dir_all(place.path("data/mnist")).unwrap();
    place.write("data/fashion-mnist/train-images-idx3-ubyte.gz.part", "begun");
    place.write("data/cifar-10-batches-bin/test_batch.bin", "wrong");
    let out = place.ok(&["data", "list", "--data-dir", "data"]);
    let line = |name: &str| out.lines().find(|line| line.starts_with(name)).unwrap();
    for name in ["mnist", "fashion-mnist"] {
        let line = line(name);
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1], "missing", "{line}");
        assert!(line.ends_with(&format!("`lfnn-cli data fetch {name}` downloads it")), "{line}");
    }
    assert!(line("cifar-10 ").contains("broken"), "{out}");
}

/// Writes a folder of two classes whose images differ by less than 8 bits can show.
fn faint(place: &Place, parts: &[&str]) {
    for part in parts {
        for (class, slope) in [("down", 1), ("up", 3)] {
            for image in 0..8 {
                let pixels = (0..64).flat_map(|at| (0x6400u16 + image + slope * at).to_be_bytes());
                let bytes = b"P5\n8 8\n65535\n".iter().copied().chain(pixels).collect::<Vec<u8>>();
                place.write(&format!("faint/{part}/{class}/{image}.pgm"), bytes);
            }
        }
    }
}

/// Trains on such a folder; black pixels around an image would be far darker than any in it.
fn train_on_faint(place: &Place, sets: &[&str]) -> Ended {
    let always = [
        "dataset.name=folder",
        "dataset.path=faint",
        "dataset.validation=0",
        "dataset.augmentation.crop_padding=0",
        "training.batch_size=8",
    ];
    let sets = always.iter().chain(sets).flat_map(|set| ["--set", set]);
    let args = ["train", "digits", "--epochs", "20", "--out", "run"].into_iter().chain(sets);
    place.run(&args.collect::<Vec<_>>())
}

#[test]
fn grey_images_of_16_bits_train_and_predict_with_all_of_them() {
    let place = Place::new();
    faint(&place, &["train", "val", "test"]);
    let ended = train_on_faint(&place, &[]);
    assert_eq!(
        ended.err,
        "note: 48 of 48 files have 16 bits per channel; all images train with real numbers \
         (`dataset.bits: 8` trains with bytes)\n"
    );
    let data = "data: folder, 16 training, 16 validation and 16 test images of 8×8×1, 2 classes";
    assert!(ended.out.contains(data), "{}", ended.out);
    let error = |split: &str| {
        let ended = place.run(&["eval", "run", "--json", "--quiet", "--split", split]);
        let evaluated: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(evaluated["examples"], 16);
        evaluated["error"].as_f64().unwrap()
    };
    assert_eq!([error("validation"), error("test")], [0.0; 2]);
    place.write("faint/test/up/.hidden", "");
    let ended = place.run(&["predict", "run", "faint/test/up"]);
    assert_eq!(ended.err, "note: left out 1 file of up/: 1 hidden file (first: up/.hidden)\n");
    assert_eq!(ended.out.lines().count(), 8);
    assert!(ended.out.lines().all(|line| line.contains(" up ")), "{}", ended.out);

    // With 8 bits, all images are the same.
    fs::remove_dir_all(place.path("run")).unwrap();
    train_on_faint(&place, &["dataset.bits=8"]);
    assert_eq!(error("test"), 50.0);
    let ended = place.run(&["predict", "run", "faint/test/up/1.pgm"]);
    let note = "note: faint/test/up/1.pgm has 16 bits per channel; 8 of them are used\n";
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), note));
}

#[test]
fn a_network_is_evaluated_on_images_such_as_it_was_trained_on() {
    let place = Place::new();
    for part in ["train", "test"] {
        for class in ["cat", "dog"] {
            place.write(&format!("pets/{part}/{class}/1.pgm"), grey());
        }
    }
    let out = train(&place, &["--out", "run"]).out;
    assert!(out.contains("2 training, 0 validation and 2 test images of 8×8×1, "), "{out}");
    // Without the network, this image would make all of them RGB and real numbers.
    place.write("pets/test/cat/2.ppm", deep());
    let ended = place.run(&["eval", "run"]);
    let notes = "note: 1 of 5 images is in colour; it trains as grey\n\
                 note: 1 file has 16 bits per channel; it trains with 8\n\
                 note: this is not the data of the run: images, labels or their order have changed\n";
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), notes));
    assert!(ended.out.contains("test: 3 images"), "{}", ended.out);
}

#[test]
fn how_images_become_numbers_is_checked() {
    let place = Place::new();
    for (set, message) in
        [("channels=2", "2, expected 1 or 3"), ("bits=12", "12, expected 8 or 16")]
    {
        let (set, key) = (format!("dataset.{set}"), set.split('=').next().unwrap());
        let args = ["train", "digits", "--set", "dataset.name=folder", "--set", &set];
        place.fails(2, &args, &format!("--set {set}: dataset.{key}: {message}"));
    }
    for (key, value) in [("channels", 1), ("bits", 8)] {
        let set = format!("dataset.{key}={value}");
        let message = format!(
            "--set {set}: dataset.{key}: means nothing for the data set `digits`; it is for the data set `folder`"
        );
        place.fails(2, &["train", "digits", "--set", &set], &message);
    }
}
