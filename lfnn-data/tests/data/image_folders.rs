//! Tiny ImageNet and other folders of image files, made here with the `image` crate.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use lfnn_data::{
    BitDepth, Counted, DataError, Dataset, DatasetName, Examples, ImageOptions, ImageShape, Inputs,
    Source, TestPart, Update, load_image, silent,
};
use tempfile::tempdir;

use crate::support::{
    bytes_of, load, load_images, load_sized, message, without, write, write_colour, write_grey,
};

const TINY: DatasetName = DatasetName::TinyImagenet;
const FOLDER: DatasetName = DatasetName::Folder;

const ENDINGS: &str = "expected files ending in .jpg, .jpeg, .png, .bmp, .gif, .webp, .pbm, .pam, \
                       .ppm, .pgm or .pnm";

/// Two classes of two training images and one validation image; one of the images is grey.
fn write_tiny(folder: &Path) {
    write(&folder.join("wnids.txt"), "n02\nn01\n");
    write(&folder.join("words.txt"), "n01\tcat\nn02\tdog, hound\nn03\tcow\n");
    write_colour(&folder.join("train/n02/images/n02_0.JPEG"), 64, 64, [200, 100, 50]);
    write_grey(&folder.join("train/n02/images/n02_1.JPEG"), 64, 64, 77);
    write_colour(&folder.join("train/n01/images/n01_0.JPEG"), 64, 64, [0, 0, 255]);
    write_colour(&folder.join("train/n01/images/n01_1.JPEG"), 64, 64, [0, 255, 0]);
    write_colour(&folder.join("val/images/val_0.JPEG"), 64, 64, [9, 9, 9]);
    write_grey(&folder.join("val/images/val_1.JPEG"), 64, 64, 200);
    let annotations = "val_1.JPEG\tn01\t0\t0\t63\t63\nval_0.JPEG\tn02\t0\t0\t63\t63\n";
    write(&folder.join("val/val_annotations.txt"), annotations);
}

/// Three classes with a training and a test image each, 4×6.
fn write_folder(folder: &Path, test: &str) {
    for (class, grey) in [("b", 20), ("a", 10), ("c", 30)] {
        write_colour(&folder.join(format!("train/{class}/1.png")), 4, 6, [grey, 0, 0]);
        write_grey(&folder.join(format!("{test}/{class}/2.png")), 4, 6, grey);
    }
}

/// JPEG is lossy, even for one colour.
fn close(pixel: &[u8], colour: [u8; 3]) -> bool {
    pixel.iter().zip(colour).all(|(&found, expected)| found.abs_diff(expected) <= 4)
}

#[test]
fn tiny_imagenet_loads_with_labels_names_and_grey_expanded() {
    let folder = tempdir().unwrap();
    write_tiny(folder.path());
    let data = load(TINY, folder.path()).unwrap();
    assert_eq!(data.classes(), ["dog, hound", "cat"]);
    assert_eq!(data.train.shape, ImageShape { height: 64, width: 64, channels: 3 });
    assert_eq!(data.train.labels(), [0, 0, 1, 1]);
    assert!(close(&data.train.image(0)[..3], [200, 100, 50]));
    assert!(close(&data.train.image(1)[..3], [77; 3]));
    assert!(close(&data.train.image(2)[..3], [0, 0, 255]));
    // The test images come in the order of the annotations.
    assert_eq!(data.test.labels(), [1, 0]);
    assert!(close(&data.test.image(0)[..3], [200; 3]));
}

#[test]
fn tiny_imagenet_without_its_lists_takes_the_folders_names() {
    let folder = tempdir().unwrap();
    write_tiny(folder.path());
    fs::remove_file(folder.path().join("wnids.txt")).unwrap();
    fs::remove_file(folder.path().join("words.txt")).unwrap();
    let data = load(TINY, folder.path()).unwrap();
    assert_eq!(data.classes(), ["n01", "n02"]);
    assert_eq!(data.test.labels(), [0, 1]);
}

#[test]
fn an_image_of_the_wrong_size_is_named_with_both_sizes() {
    let folder = tempdir().unwrap();
    write_tiny(folder.path());
    write_colour(&folder.path().join("train/n01/images/n01_1.JPEG"), 32, 64, [0; 3]);
    assert_eq!(
        message(TINY, folder.path()),
        "train/n01/images/n01_1.JPEG: the image is 32 × 64 pixels (height × width); expected \
         64 × 64"
    );
}

#[test]
fn of_several_broken_images_the_first_is_named() {
    let folder = tempdir().unwrap();
    write_tiny(folder.path());
    let whole = fs::read(folder.path().join("train/n02/images/n02_1.JPEG")).unwrap();
    write(&folder.path().join("train/n02/images/n02_1.JPEG"), &whole[..40]);
    write(&folder.path().join("train/n01/images/n01_1.JPEG"), "no image");
    for _ in 0..20 {
        assert_eq!(
            message(TINY, folder.path()),
            "train/n02/images/n02_1.JPEG: cannot be decoded; expected a whole JPEG, PNG, BMP, \
             GIF, WebP or PNM image"
        );
    }
}

/// The message when the annotations of the validation images are these.
fn with_annotations(text: &str) -> String {
    let folder = tempdir().unwrap();
    write_tiny(folder.path());
    write(&folder.path().join("val/val_annotations.txt"), text);
    message(TINY, folder.path())
}

#[test]
fn annotations_and_validation_images_must_go_together() {
    let file = "val/val_annotations.txt";
    assert_eq!(
        with_annotations("val_0.JPEG\tn02\nval_7.JPEG\tn02\n"),
        format!("{file}: line 2 is `val_7.JPEG`; expected a file of val/images, each once")
    );
    assert_eq!(
        with_annotations("val_0.JPEG\tn02\nval_0.JPEG\tn02\n"),
        format!("{file}: line 2 is `val_0.JPEG`; expected a file of val/images, each once")
    );
    assert_eq!(
        with_annotations("../../secret.JPEG\tn02\n"),
        format!("{file}: line 1 is `../../secret.JPEG`; expected a file of val/images, each once")
    );
    assert_eq!(
        with_annotations("val_0.JPEG\tn09\n"),
        format!("{file}: line 1 is `n09`; expected one of the classes of train/")
    );
    assert_eq!(
        with_annotations("val_0.JPEG n02\n"),
        format!("{file}: line 1 is `val_0.JPEG n02`; expected a file, a tab and a class")
    );
    assert_eq!(
        with_annotations("val_0.JPEG\tn02\n"),
        format!("{file}: its list is without val_1.JPEG; expected each file of val/images")
    );
    let folder = tempdir().unwrap();
    write_tiny(folder.path());
    write(&folder.path().join(file), [0xff, 0xfe]);
    assert_eq!(
        message(TINY, folder.path()),
        format!("{file}: its text is not UTF-8; expected a text file in UTF-8")
    );
}

#[test]
fn a_listed_class_without_images_or_listed_twice_is_told() {
    let folder = tempdir().unwrap();
    write_tiny(folder.path());
    write(&folder.path().join("wnids.txt"), "n01\nn02\nn03\n");
    let expected = format!("no images; {ENDINGS}");
    assert_eq!(message(TINY, folder.path()), format!("train/n03/images: {expected}"));
    write(&folder.path().join("wnids.txt"), "n01\nn01\n");
    assert_eq!(
        message(TINY, folder.path()),
        "wnids.txt: class 2 is `n01`; expected the name of a folder of train/, each once"
    );
}

#[test]
fn any_folder_loads_with_its_classes_sorted() {
    for test in ["test", "val"] {
        let folder = tempdir().unwrap();
        write_folder(folder.path(), test);
        write(&folder.path().join("train/a/notes.txt"), "not an image, and left out");
        write(&folder.path().join("train/a/.1.png"), "hidden, and left out");
        let data = load(FOLDER, folder.path()).unwrap();
        assert_eq!(data.classes(), ["a", "b", "c"]);
        assert_eq!(data.train.shape, ImageShape { height: 4, width: 6, channels: 3 });
        assert_eq!(data.train.labels(), [0, 1, 2]);
        assert_eq!(data.train.image(1)[..3], [20, 0, 0]);
        assert_eq!(data.test.image(2)[..3], [30, 30, 30]);
    }
}

#[test]
fn a_folder_of_several_sizes_needs_a_size_asked_for() {
    let folder = tempdir().unwrap();
    write_folder(folder.path(), "test");
    write_colour(&folder.path().join("train/c/1.png"), 8, 8, [30, 0, 0]);
    assert_eq!(
        message(FOLDER, folder.path()),
        "train/c/1.png: the image is 8 × 8 pixels (height × width); expected 4 × 6; the first \
         image's size, because `dataset.image_size` is not set; set it to resize all images"
    );
    let data = load_sized(FOLDER, folder.path(), Some((5, 3))).unwrap();
    assert_eq!(data.train.shape, ImageShape { height: 5, width: 3, channels: 3 });
    assert!(data.train.image(2).chunks(3).all(|pixel| pixel == [30, 0, 0]));
}

#[test]
fn a_size_that_cannot_be_is_told() {
    let folder = tempdir().unwrap();
    write_folder(folder.path(), "test");
    for (height, width) in [(0, 4), (4, 1 << 20)] {
        let error = load_sized(FOLDER, folder.path(), Some((height, width))).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "dataset.image_size: found {height} × {width}; expected a height and a width \
                 from 1 to 16384"
            )
        );
    }
    let error = load_sized(TINY, folder.path(), Some((4, 4))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "dataset.image_size: found 4 × 4; expected nothing: it is for the data set `folder`, not \
         for `tiny-imagenet`"
    );
}

#[test]
fn folders_that_do_not_fit_are_told() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let missing = |what: &str| {
        format!(
            "{what}; an image folder is your own: train/CLASS/ and test/CLASS/ with image files, or CLASS/ alone"
        )
    };
    assert_eq!(
        message(FOLDER, root),
        missing("train: not found; expected a folder for each class")
    );
    fs::create_dir_all(root.join("train")).unwrap();
    assert_eq!(
        message(FOLDER, root),
        missing(
            "test: not found; expected a folder for each class, as in train/ (it may also be \
             called val)"
        )
    );
    fs::create_dir_all(root.join("test")).unwrap();
    assert_eq!(
        message(FOLDER, root),
        "train: no images; expected a folder of images for each class"
    );
    write_folder(root, "test");
    fs::remove_file(root.join("test/b/2.png")).unwrap();
    assert_eq!(message(FOLDER, root), format!("test/b: no images; {ENDINGS}"));
    write_grey(&root.join("test/b/2.png"), 4, 6, 1);
    write_grey(&root.join("test/z/2.png"), 4, 6, 1);
    let error = without(root, load(FOLDER, root).unwrap_err().to_string());
    assert!(error.contains("a folder is `z`; expected one of the classes of train"), "{error}");
}

#[test]
fn a_file_in_the_place_of_a_folder_is_told() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    write(&root.join("a.png"), "");
    let own = "an image folder is your own: train/CLASS/ and test/CLASS/ with image files, or CLASS/ alone";
    let message = message(FOLDER, &root.join("a.png"));
    assert_eq!(
        without(root, message),
        format!("a.png: it is a file; expected a folder of images; {own}")
    );
    write(&root.join("set/train"), "");
    let message = crate::support::message(FOLDER, &root.join("set"));
    assert_eq!(message, format!("train: it is a file; expected a folder for each class; {own}"));
    write_folder(&root.join("other"), "val");
    write(&root.join("other/test"), "");
    // `val` serves.
    assert_eq!(load(FOLDER, &root.join("other")).unwrap().test.len(), 3);
}

#[test]
fn an_image_folder_needs_a_path_and_a_missing_one_is_named() {
    let source = Source::named(FOLDER);
    let error = Dataset::load(&source, Path::new("."), &lfnn_data::silent).unwrap_err();
    assert_eq!(
        error.to_string(),
        "dataset.path: found nothing; expected the path of a folder of images"
    );
    let folder = tempdir().unwrap();
    let error = Dataset::load(&Source::named(TINY), folder.path(), &lfnn_data::silent);
    assert_eq!(
        without(folder.path(), error.unwrap_err().to_string()),
        "tiny-imagenet-200: not found; expected the folder of tiny-imagenet; unpack \
         http://cs231n.stanford.edu/tiny-imagenet-200.zip in the data folder, or point \
         `dataset.path` at it"
    );
}

#[test]
fn decoding_reports_every_image() {
    let folder = tempdir().unwrap();
    write_tiny(folder.path());
    let most = AtomicU64::new(0);
    let progress = |update: &Update<'_>| {
        assert_eq!(update.counted, Counted::Images);
        if update.what == "decoding train" {
            assert_eq!(update.total, 4);
            most.fetch_max(update.done, Ordering::Relaxed);
        }
    };
    let source = Source { path: Some(folder.path().into()), ..Source::named(TINY) };
    Dataset::load(&source, Path::new("."), &progress).unwrap();
    assert_eq!(most.into_inner(), 4);
}

#[test]
fn one_image_is_converted_and_resized_as_asked() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("image.png");
    write_colour(&path, 10, 20, [200, 200, 200]);
    let grey = ImageShape { height: 28, width: 28, channels: 1 };
    assert_eq!(bytes_of(&path, grey).unwrap(), vec![200; 28 * 28]);
    write_grey(&path, 10, 20, 50);
    let colour = ImageShape { height: 2, width: 3, channels: 3 };
    assert_eq!(bytes_of(&path, colour).unwrap(), vec![50; 18]);

    let two = bytes_of(&path, ImageShape { channels: 2, ..colour }).unwrap_err();
    assert_eq!(
        two.to_string(),
        "number of channels is 2; expected 1 (grey) or 3 (red, green and blue)"
    );
    let absent = bytes_of(&folder.path().join("absent.png"), colour).unwrap_err();
    assert!(matches!(absent, DataError::Io { .. }));
    assert_eq!(without(folder.path(), absent.to_string()), "absent.png: cannot read");
}

#[test]
fn shrinking_averages_over_fine_patterns() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("stripes.png");
    let stripes = image::GrayImage::from_fn(64, 64, |x, _| image::Luma([(x % 2 * 200) as u8]));
    stripes.save(&path).unwrap();
    let small = bytes_of(&path, ImageShape { height: 4, width: 4, channels: 1 }).unwrap();
    assert!(small.iter().all(|&value| value.abs_diff(100) < 8), "{small:?}");
}

#[test]
fn a_picture_taken_sideways_is_turned_upright() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("phone.jpg");
    write_grey(&path, 2, 4, 9);
    // An EXIF block with orientation 6 (turn right by a quarter), put behind the start marker.
    let mut exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    exif.extend(b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0");
    let plain = fs::read(&path).unwrap();
    write(&path, [&plain[..2], &exif, &plain[2..]].concat());
    let folder_set = folder.path().join("set");
    for part in ["train/a/1.jpg", "test/a/1.jpg"] {
        write(&folder_set.join(part), fs::read(&path).unwrap());
    }
    let data = load(FOLDER, &folder_set).unwrap();
    assert_eq!((data.train.shape.height, data.train.shape.width), (4, 2));
}

#[test]
fn a_folder_of_classes_alone_is_divided_by_a_share_of_each_class() {
    let folder = tempdir().unwrap();
    for (class, red) in [("cat", 0), ("dog", 100)] {
        for image in 0..10 {
            let path = folder.path().join(format!("{class}/{image}.png"));
            write_colour(&path, 4, 6, [red + 9 * image, 0, 0]);
        }
    }
    write(&folder.path().join("cat/notes.txt"), "no image");
    let named =
        |test| Source { path: Some(folder.path().to_owned()), test, ..Source::named(FOLDER) };
    let load = |source: &Source| Dataset::load(source, folder.path(), &silent);
    let data = load(&named(None)).unwrap();
    assert_eq!(data.classes(), ["cat", "dog"]);
    assert_eq!(data.test.labels(), [0, 0, 1, 1]);
    assert_eq!(data.notes.len(), 1, "{:?}", data.notes);
    let reds = |examples: &Examples| -> Vec<u8> {
        (0..examples.len()).map(|index| examples.image(index)[0]).collect()
    };
    let mut all = [reds(&data.train), reds(&data.test)].concat();
    all.sort_unstable();
    let expected: Vec<u8> =
        [0, 100].iter().flat_map(|red| (0..10).map(move |i| red + 9 * i)).collect();
    assert_eq!(all, expected);

    let half = load(&named(Some(TestPart::Share(0.5)))).unwrap();
    assert_eq!((half.train.len(), half.test.len()), (10, 10));
    let other = load(&Source { seed: 2, ..named(Some(TestPart::Share(0.5))) }).unwrap();
    assert_ne!(reds(&half.test), reds(&other.test));
    let error = load(&named(Some(TestPart::Share(0.01)))).unwrap_err().to_string();
    assert!(error.starts_with("dataset.test: found 0.01 of 20 examples"), "{error}");

    // Parts with other names than those that are read are no classes.
    fs::rename(folder.path().join("dog"), folder.path().join("validation")).unwrap();
    let error = load(&named(None)).unwrap_err().to_string();
    assert!(error.contains("train: not found; expected a folder for each class"), "{error}");

    let parts = tempdir().unwrap();
    write_folder(parts.path(), "test");
    let source =
        Source { path: Some(parts.path().to_owned()), ..named(Some(TestPart::Share(0.5))) };
    let error = load(&source).unwrap_err().to_string();
    let expected = "dataset.test: found 0.5; expected nothing: the folder has a test part";
    assert_eq!(error, expected);
}

#[test]
fn a_grey_folder_stays_grey_and_channels_may_be_forced() {
    let folder = tempdir().unwrap();
    for (path, grey) in [("train/a/1.png", 10), ("train/b/1.pgm", 20), ("test/a/1.png", 30)] {
        write_grey(&folder.path().join(path), 4, 6, grey);
    }
    write_grey(&folder.path().join("test/b/1.png"), 4, 6, 40);
    let data = load(FOLDER, folder.path()).unwrap();
    assert_eq!(data.train.shape, ImageShape { height: 4, width: 6, channels: 1 });
    assert_eq!((data.train.image(1), data.test.image(1)), (&[20; 24][..], &[40; 24][..]));
    assert_eq!(data.notes, []);

    let forced = |channels| {
        load_images(FOLDER, folder.path(), ImageOptions { channels, ..ImageOptions::default() })
    };
    let data = forced(Some(3)).unwrap();
    assert_eq!((data.train.shape.channels, data.train.image(0)), (3, &[10; 72][..]));
    assert_eq!(data.notes[0].to_string(), "all 4 images are grey; they train as RGB");
    assert_eq!(
        forced(Some(2)).unwrap_err().to_string(),
        "dataset.channels: found 2; expected 1 (grey) or 3 (red, green and blue)"
    );

    // One image in colour makes all of them RGB, whatever part it is of.
    write_colour(&folder.path().join("test/b/2.png"), 4, 6, [200, 200, 200]);
    let data = load(FOLDER, folder.path()).unwrap();
    assert_eq!(data.train.shape.channels, 3);
    assert_eq!(data.notes[0].to_string(), "4 of 5 images are grey; they train as RGB");
    let data = forced(Some(1)).unwrap();
    assert_eq!((data.train.shape.channels, data.test.image(2)), (1, &[200; 24][..]));
    assert_eq!(data.notes[0].to_string(), "1 of 5 images is in colour; it trains as grey");
}

/// Writes a grey image of 2 × 3 with 16 bits per channel.
fn write_deep(path: &Path, grey: u16) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::ImageBuffer::from_pixel(3, 2, image::Luma([grey])).save(path).unwrap();
}

#[test]
fn files_of_16_bits_keep_them_and_bytes_mean_the_same_beside_them() {
    let folder = tempdir().unwrap();
    for (path, grey) in [("train/a/1.png", 300), ("train/b/1.png", 301), ("test/a/1.png", 65535)] {
        write_deep(&folder.path().join(path), grey);
    }
    let byte = folder.path().join("test/b/1.png");
    write_grey(&byte, 2, 3, 51);
    let data = load(FOLDER, folder.path()).unwrap();
    assert_eq!(data.train.shape, ImageShape { height: 2, width: 3, channels: 1 });
    let reals = |values: [f32; 2]| {
        Inputs::Reals(values.into_iter().flat_map(|value| [value; 6]).collect::<Vec<f32>>())
    };
    assert_eq!(data.train.inputs, reals([300.0 / 65535.0, 301.0 / 65535.0]));
    assert_eq!(data.test.inputs, reals([1.0, 51.0 / 255.0]));
    assert_eq!(
        data.notes[0].to_string(),
        "3 of 4 files have 16 bits per channel; all images train with real numbers \
         (`dataset.bits: 8` trains with bytes)"
    );

    let forced = |depth| {
        load_images(FOLDER, folder.path(), ImageOptions { depth, ..ImageOptions::default() })
    };
    let data = forced(Some(BitDepth::Eight)).unwrap();
    assert_eq!(data.train.inputs, Inputs::Bytes(vec![1; 12]));
    assert_eq!(data.notes[0].to_string(), "3 files have 16 bits per channel; they train with 8");
    fs::remove_dir_all(folder.path().join("train")).unwrap();
    for class in ["a", "b"] {
        write_grey(&folder.path().join(format!("train/{class}/1.png")), 2, 3, 102);
    }
    fs::remove_file(folder.path().join("test/a/1.png")).unwrap();
    write_grey(&folder.path().join("test/a/1.png"), 2, 3, 0);
    assert_eq!(load(FOLDER, folder.path()).unwrap().train.inputs, Inputs::Bytes(vec![102; 12]));
    let data = forced(Some(BitDepth::Sixteen)).unwrap();
    assert_eq!((data.train.inputs, data.notes), (reals([0.4, 0.4]), vec![]));

    // A prediction converts as training did.
    let shape = ImageShape { height: 2, width: 3, channels: 1 };
    let one = load_image(&byte, shape, BitDepth::Sixteen).unwrap();
    assert_eq!((one.pixels, one.is_cut), (Inputs::Reals(vec![0.2; 6]), false));
}

#[test]
fn a_validation_folder_is_the_validation_part() {
    for [train, validation, test] in [["train", "val", "test"], ["training", "valid", "testing"]] {
        let folder = tempdir().unwrap();
        let root = folder.path();
        for (part, grey) in [(train, 10), (validation, 20), (test, 30)] {
            for (class, more) in [("a", 0), ("b", 1)] {
                write_grey(&root.join(format!("{part}/{class}/1.png")), 2, 3, grey + more);
            }
        }
        let data = load(FOLDER, root).unwrap();
        assert_eq!(data.classes(), ["a", "b"]);
        let values = |examples: &Examples| [0, 1].map(|index| examples.image(index)[0]);
        let validated = data.validation.as_ref().unwrap();
        let parts = [&data.train, validated, &data.test];
        assert_eq!(parts.map(values), [[10, 11], [20, 21], [30, 31]]);
        assert_eq!(validated.labels(), [0, 1]);
        assert_eq!(data.notes, []);

        let path = Some(root.to_owned());
        let source = Source { path, validation: 1, ..Source::named(FOLDER) };
        assert_eq!(
            Dataset::load(&source, root, &silent).unwrap_err().to_string(),
            "dataset.validation: found 1; expected 0: the folder has a validation part"
        );
        write_grey(&root.join(format!("{validation}/c/1.png")), 2, 3, 0);
        let error = load(FOLDER, root).unwrap_err().to_string();
        assert!(
            error.contains(&format!("{validation}: a folder is `c`; expected one of")),
            "{error}"
        );
        fs::remove_dir_all(root.join(validation).join("c")).unwrap();

        // Without a test part it is tested on.
        fs::remove_dir_all(root.join(test)).unwrap();
        let data = load(FOLDER, root).unwrap();
        assert_eq!((values(&data.test), data.validation), ([20, 21], None));
        let note = format!("there is no test/; {validation}/ is the test set");
        assert_eq!(data.notes[0].to_string(), note);
    }
}
