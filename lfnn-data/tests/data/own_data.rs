//! Tables and arrays of a user's own as data sets.

use std::fs;
use std::path::{Path, PathBuf};

use lfnn_data::{
    DataError, Dataset, DatasetName, ImageShape, Inputs, MissingCells, Note, Source, TableColumns,
    TargetNames, Targets, TestPart, silent, verify,
};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

fn columns(target: &str) -> TableColumns {
    TableColumns { target: vec![target.into()], ..TableColumns::default() }
}

/// A table in a folder of its own.
fn table(text: &str) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("t.csv");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn of(path: &Path, columns: TableColumns) -> Source {
    Source { path: Some(path.into()), columns, ..Source::named(DatasetName::Table) }
}

fn load(source: &Source) -> Result<Dataset, DataError> {
    Dataset::load(source, Path::new("nowhere"), &silent)
}

/// The message, without the folder of the file.
fn message(source: &Source) -> String {
    let text = load(source).unwrap_err().to_string();
    let folder = source.path.as_ref().unwrap().parent().unwrap();
    text.replace(&format!("{}/", folder.display()), "")
}

/// 40 rows of two classes, 3 to 1: a number, a text, a constant, and the class.
fn pets() -> String {
    let row = |i: u32| {
        let kind = if i.is_multiple_of(4) { "cat" } else { "dog" };
        format!("{i},{},7,{kind}\n", ["red", "black", "grey"][i as usize % 3])
    };
    "kg,colour,legs,kind\n".to_owned() + &(0..40).map(row).collect::<String>()
}

#[test]
fn a_fifth_of_a_table_is_tested_on_with_every_class_in_proportion() {
    let (_folder, path) = table(&pets());
    let data = load(&of(&path, columns("kind"))).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (32, 8));
    assert_eq!(data.classes(), ["cat", "dog"]);
    let cats = |labels: &[u32]| labels.iter().filter(|&&label| label == 0).count();
    assert_eq!((cats(data.train.labels()), cats(data.test.labels())), (8, 2));
    assert_eq!(data.train.shape, ImageShape { height: 1, width: 1, channels: 5 });
    // No row is in both parts: `kg` numbers them.
    let numbers = |inputs: &Inputs| match inputs {
        Inputs::Reals(reals) => reals.iter().step_by(5).map(|&kg| kg as u32).collect::<Vec<_>>(),
        Inputs::Bytes(_) => panic!("reals"),
    };
    let mut all = [numbers(&data.train.inputs), numbers(&data.test.inputs)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
    let expected = [
        Note::Categories { columns: vec![("colour".into(), 3)] },
        Note::Constant { columns: vec!["legs".into()] },
    ];
    assert_eq!(data.notes, expected);
    assert_eq!(
        data.notes[1].to_string(),
        "one value in all rows to train on, so nothing is learned from it: `legs`"
    );
    // Another seed tests on other rows, the same seed on the same.
    let seeded = |seed| load(&Source { seed, ..of(&path, columns("kind")) }).unwrap();
    assert_eq!(seeded(1), data);
    assert_ne!(seeded(2).test, data.test);
    let share = |share| Source { test: Some(TestPart::Share(share)), ..of(&path, columns("kind")) };
    assert_eq!(load(&share(0.5)).unwrap().test.len(), 20);
    for wrong in [0.0, 0.001, 0.999, 1.0, -1.0, f64::NAN] {
        let expected =
            "of 40 examples; expected a share between 0 and 1 that leaves examples on both sides";
        let text = message(&share(wrong));
        assert!(text.starts_with("dataset.test: found ") && text.ends_with(expected), "{text}");
    }
}

#[test]
fn a_second_file_is_tested_on_in_the_encoding_of_the_first() {
    let (folder, path) = table(&pets());
    let test = folder.path().join("test.tsv");
    fs::write(&test, "kind\tkg\tcolour\tlegs\ndog\t1.5\tgrey\t4\n").unwrap();
    let source = Source { test: Some(TestPart::File(test.clone())), ..of(&path, columns("kind")) };
    let data = load(&source).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (40, 1));
    assert_eq!(data.test.inputs, Inputs::Reals(vec![1.5, 0.0, 1.0, 0.0, 4.0]));
    assert_eq!(data.test.labels(), [1]);
    fs::write(&test, "kind\tkg\tcolour\tlegs\nfox\t1.5\tgrey\t4\n").unwrap();
    assert_eq!(
        message(&source),
        "test.tsv: line 2, column `kind` is `fox`; expected one of cat, dog"
    );
}

#[test]
fn what_fills_empty_cells_is_the_mean_of_the_rows_to_train_on() {
    // Two rows have a number; whichever of the two is not trained on does not count.
    let rows = (0..20).map(|i| match i {
        0 => format!("100,{}\n", i % 2),
        1 => format!("300,{}\n", i % 2),
        _ => format!(",{}\n", i % 2),
    });
    let (_folder, path) = table(&("x,y\n".to_owned() + &rows.collect::<String>()));
    let filling = TableColumns { missing: MissingCells::Mean, ..columns("y") };
    let mut seen = Vec::new();
    for seed in 0..20 {
        let source = Source { validation: 8, seed, ..of(&path, filling.clone()) };
        let data = load(&source).unwrap();
        let split = data.train.hold_out(8, seed).unwrap();
        let Inputs::Reals(train) = &data.train.inputs else { panic!("reals") };
        let known: Vec<f32> = split
            .train
            .iter()
            .map(|&at| train[at as usize])
            .filter(|x| [100.0, 300.0].contains(x))
            .collect();
        let Some(lfnn_data::ColumnKind::Number { fill: Some(fill) }) =
            data.encoding.as_ref().map(|encoding| encoding.features[0].kind.clone())
        else {
            panic!("a filled column")
        };
        // With no number to train on the column is filled with 0; a filled cell may be 100 or 300 itself.
        if fill == 200.0 {
            assert!(known.contains(&100.0) && known.contains(&300.0), "seed {seed}");
        }
        seen.push(fill as u32);
        assert_eq!(data.notes[0], Note::Filled { columns: vec![("x".into(), 18)] });
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [0, 100, 200, 300]);
}

#[test]
fn a_regression_predicts_columns_that_must_vary() {
    let rows: String = (0..10).map(|i| format!("{i},{},5\n", 2 * i)).collect();
    let (_folder, path) = table(&format!("x,y,z\n{rows}"));
    let regression = |target: &[&str]| TableColumns {
        target: target.iter().map(|&name| name.into()).collect(),
        regression: true,
        ..TableColumns::default()
    };
    let data = load(&of(&path, regression(&["y"]))).unwrap();
    assert_eq!(data.targets, TargetNames::Values(vec!["y".into()]));
    let Targets::Values(values) = &data.train.targets else { panic!("values") };
    assert_eq!(values.shape(), [8, 1]);
    assert_eq!(
        message(&of(&path, regression(&["y", "z"]))),
        "t.csv: the target `z` is 5 in all examples to train on; expected numbers that differ"
    );
    assert_eq!(
        message(&of(&path, regression(&[]))),
        "dataset.target: found nothing; expected the column to predict"
    );
}

/// A file as `numpy.save` writes it.
fn npy(element: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{element}', 'fortran_order': False, 'shape': {shape}, }}");
    let text = format!("{text:<117}\n");
    let length = u16::try_from(text.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), data].concat()
}

fn arrays(files: &[(&str, Vec<u8>)]) -> (TempDir, Source) {
    let folder = tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(format!("{name}.npy")), bytes).unwrap();
    }
    let path = Some(folder.path().into());
    (folder, Source { path, ..Source::named(DatasetName::Arrays) })
}

#[test]
fn arrays_are_a_data_set_with_their_own_test_part_or_a_share() {
    let pixels: Vec<u8> = (0..40).collect();
    let x = npy("|u1", "(10, 2, 2)", &pixels);
    let y = npy("|u1", "(10,)", &[3, 5, 3, 5, 3, 5, 3, 5, 3, 5]);
    let (_folder, source) = arrays(&[("x", x.clone()), ("y", y.clone())]);
    let data = load(&source).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (8, 2));
    assert_eq!(data.classes(), ["3", "5"]);
    assert_eq!(data.train.shape, ImageShape { height: 2, width: 2, channels: 1 });
    assert!(matches!(data.train.inputs, Inputs::Bytes(_)));
    let tested = npy("|u1", "(1, 2, 2)", &[0; 4]);
    let (_folder, source) = arrays(&[
        ("x_train", x),
        ("y_train", y),
        ("x_test", tested),
        ("y_test", npy("|u1", "(1,)", &[5])),
    ]);
    let data = load(&source).unwrap();
    assert_eq!((data.train.len(), data.test.labels()), (10, &[1][..]));
    let given = Source { test: Some(TestPart::Share(0.3)), ..source.clone() };
    assert_eq!(
        message(&given),
        "dataset.test: found a share; expected nothing: the arrays have a test part"
    );
    let report = verify(DatasetName::Arrays, source.path.as_ref().unwrap(), &silent).unwrap();
    let expected = "10 examples to train on, 1 example to test on; no checksum is known";
    assert_eq!(report.files[0].state.to_string(), expected);
}

#[test]
fn a_path_that_leads_to_something_else_is_an_error() {
    let folder = tempdir().unwrap();
    let source = of(folder.path(), columns("y"));
    let text = load(&source).unwrap_err().to_string();
    assert!(text.contains("it is a folder; expected a CSV or TSV file"), "{text}");
    let nothing = Source { path: None, ..source };
    assert_eq!(
        load(&nothing).unwrap_err().to_string(),
        "dataset.path: found nothing; expected the path of a CSV or TSV file"
    );
    let (_folder, path) = table(&pets());
    let report = verify(DatasetName::Table, &path, &silent).unwrap();
    assert_eq!(report.files[0].state.to_string(), "40 rows of 4 columns; no checksum is known");
}

proptest! {
    #[test]
    fn no_table_panics(
        rows in prop::collection::vec("[-ab0-9.?]{0,3},[ab \"NA]{0,3},[0-9x]{0,2}", 0..12),
        regression: bool,
        mean: bool,
        validation in 0usize..6,
        share in 0.0f64..1.0,
    ) {
        let (_folder, path) = table(&format!("a,b,y\n{}\n", rows.join("\n")));
        let missing = if mean { MissingCells::Mean } else { MissingCells::Error };
        let columns = TableColumns { regression, missing, ..columns("y") };
        let test = Some(TestPart::Share(share));
        if let Ok(data) = load(&Source { test, validation, ..of(&path, columns) }) {
            let width = data.train.shape.values();
            prop_assert_eq!(data.train.inputs.len(), data.train.len() * width);
            prop_assert_eq!(data.test.inputs.len(), data.test.len() * width);
        }
    }

    #[test]
    fn no_array_panics(
        shape in "\\([0-9]{1,2}(, [0-9]{0,2}){0,4}\\)",
        element in "[<>|][uif][1248]",
        data in prop::collection::vec(any::<u8>(), 0..64),
        regression: bool,
    ) {
        let x = npy(&element, &shape, &data);
        let y = npy("|u1", "(4,)", &[0, 1, 0, 1]);
        let (_folder, source) = arrays(&[("x", x), ("y", y)]);
        let columns = TableColumns { regression, ..TableColumns::default() };
        let _ = load(&Source { columns, ..source });
    }
}
