//! A table: reads a CSV file, holds a fifth of the rows out, trains, shows which workers lead, keeps the model in a file
//! and predicts with it.

use std::fs::File;
use std::path::Path;

use lfnn_core::config::{NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
use lfnn_core::data::Dataset;
use lfnn_core::method::LFNN_L;
use lfnn_core::model::Model;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use lfnn_data::{Table, TableColumns, TableEncoding, Targets};
use ndarray::ArrayView1;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/iris.csv"));
    let table = Table::read(path)?;
    let columns = TableColumns { target: vec!["species".into()], ..TableColumns::default() };
    let encoding = TableEncoding::find(&table, &columns, &[])?;
    let features = encoding.features(&table)?;
    let Targets::Classes(labels) = encoding.target.read(&table)? else {
        return Err("no classes".into());
    };

    let data = Dataset::classification(features.view(), ArrayView1::from(&labels))?;
    let (train, test) = data.named(encoding.target.names().classes())?.split(0.2, 7)?;
    let network = NetworkConfig::new([
        UnitConfig::new().flatten().linear(32).relu().readout(4),
        UnitConfig::new().linear(32).relu().readout(4),
    ]);
    let training = TrainingConfig::new(20, 60, OptimizerConfig::adamw(0.01));
    let cpu = Cpu::new(None)?;
    let mut trainer = Trainer::new(&cpu, &Setup::new(&network, &training, LFNN_L), &train)?;
    trainer.fit(|epoch| {
        if epoch.epoch == epoch.epochs {
            println!("{epoch}");
            for (unit, metrics) in epoch.metrics.units.iter().enumerate() {
                let led = metrics.workers("lead_percent");
                println!("unit {}: led, % of the batches: {led:.0?}", unit + 1);
            }
        }
    })?;
    let error = trainer.evaluate(&test)?.error().unwrap_or(100.0);
    println!("{} rows held out, error {error:.1} %", test.len());
    assert!(error < 15.0, "an error of {error} %");

    let file = std::env::temp_dir().join(format!("iris-{}.safetensors", std::process::id()));
    trainer.model()?.without_training().write(File::create(&file)?)?;
    let mut predictor = Model::read(File::open(&file)?)?.on(&cpu, 64)?;
    std::fs::remove_file(&file)?;
    let probabilities = predictor.predict(test.inputs())?;
    println!("the first of them, {:?}: {:.3}", test.names(), probabilities.row(0));
    Ok(())
}
