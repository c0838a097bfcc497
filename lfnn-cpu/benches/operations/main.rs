//! Times single operations in the shapes that the recipes' networks have, with one thread and with all.
//!
//!     cargo bench -p lfnn-cpu
//!     cargo bench -p lfnn-cpu -- 'Conv2d/.*, 1 thread'

mod case;
mod losses;
mod norm;
mod optimizers;
mod pooling;
mod products;

use std::error::Error;
use std::time::Duration;

use criterion::Criterion;
use lfnn_cpu::Cpu;

use crate::case::Suite;

fn main() -> Result<(), Box<dyn Error>> {
    let all = std::thread::available_parallelism()?.get();
    let mut devices = vec![("1 thread".to_owned(), Cpu::new(Some(1))?)];
    if all > 1 {
        devices.push((format!("{all} threads"), Cpu::new(Some(all))?));
    }
    let criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut suite = Suite { criterion, devices };
    products::convolutions(&mut suite)?;
    products::linear_maps(&mut suite)?;
    norm::all(&mut suite)?;
    pooling::all(&mut suite)?;
    losses::all(&mut suite)?;
    optimizers::all(&mut suite)?;
    suite.criterion.final_summary();
    Ok(())
}
