//! Trains on a table: reads a CSV file, standardises its columns, holds a fifth of the rows out, and shows which
//! workers lead.

use std::path::Path;

use lfnn_core::config::{NetworkConfig, TrainingConfig};
use lfnn_core::method::by_name;
use lfnn_core::train::{Images, Labels, Normalization, Pixels, Setup, Trainer};
use lfnn_cpu::Cpu;
use lfnn_data::{MissingCells, Table, TableColumns, TableEncoding, feature_statistics, hold_out};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/iris.csv"));
    let table = Table::read(path)?;
    let columns = TableColumns {
        target: vec!["species".into()],
        features: None,
        regression: false,
        missing: MissingCells::Error,
    };
    let encoding = TableEncoding::find(&table, &columns, &[])?;
    let features = encoding.features(&table)?;
    let labels = encoding.labels(&table)?.ok_or("no classes")?;
    // The same number of rows of every species.
    let split = hold_out(&labels, table.len() / 5, 7)?;
    let statistics = feature_statistics(features.view(), &split.train)?;

    // A table is an array of images of one pixel, with a channel for each feature.
    let data = Images {
        pixels: Pixels::Reals(features.as_slice().ok_or("features in another order")?),
        labels: Labels::Classes(&labels),
        shape: [1, 1, encoding.width()],
        classes: 3,
    };
    let network: NetworkConfig = serde_json::from_str(
        r#"{"units": [
            {"layers": ["flatten"], "workers": {"neurons": {"count": 8}}},
            {"layers": [], "workers": {"neurons": {"count": 8}}}
        ]}"#,
    )?;
    let training: TrainingConfig = serde_json::from_str(
        r#"{"batch_size": 20, "epochs": 60, "optimizer": {"adam": {"lr": 0.02}}}"#,
    )?;
    let method = by_name("lfnn-l").ok_or("no such method")?;
    let normalization = Normalization { mean: statistics.mean, std: statistics.std };
    let setup = Setup::new(&network, &training, method).normalized_by(normalization);
    let mut trainer = Trainer::from_images(&Cpu::new(None)?, &setup, data, &split.train)?;
    while !trainer.is_finished() {
        trainer.train_step()?;
        if trainer.epoch_is_done() {
            if trainer.epoch() + 1 == training.epochs {
                for (unit, metrics) in trainer.metrics()?.units.iter().enumerate() {
                    println!(
                        "unit {}: led, % of the batches: {:?}",
                        unit + 1,
                        metrics.workers("lead_percent")
                    );
                }
            }
            trainer.end_epoch()?;
        }
    }
    let error = trainer.evaluate(&split.validation)?.error().unwrap_or(100.0);
    println!("{} rows held out, error {error:.1} %", split.validation.len());
    assert!(error < 15.0, "an error of {error} %");
    Ok(())
}
