//! Times a training step of a layer-wise leader–follower network, operation by operation.
//!
//!     cargo run --release -p lfnn-cpu --example step -- [threads] [mnist|cifar|mlp] [batch] [runs]
//!
//! Figures are minima over the runs, since other work on the machine only ever adds.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use lfnn_core::backend::Backend;
use lfnn_cpu::Cpu;
use network::Step;

#[path = "../tests/network/mod.rs"]
mod network;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let threads = args.next().map(|n| n.parse()).transpose()?.unwrap_or(2);
    let net = args.next().unwrap_or_else(|| "mnist".into());
    let batch = args.next().map(|n| n.parse()).transpose()?.unwrap_or(128);
    let runs = args.next().map(|n| n.parse()).transpose()?.unwrap_or(30);

    let (side, channels, layers, hidden): (usize, usize, &[usize], &[usize]) = match net.as_str() {
        "cifar" => (32, 3, &[64, 128, 240, 240], &[]),
        "mlp" => (28, 1, &[], &[320, 320]),
        _ => (28, 1, &[40, 80, 120, 120], &[]),
    };
    let mut step = Step::new(batch, side, channels);
    for (i, &filters) in layers.iter().enumerate() {
        step.unit(filters, i < 3);
    }
    if !hidden.is_empty() {
        step.flatten();
    }
    for &units in hidden {
        step.dense(units);
    }
    let (module, program, uploads) = step.finish()?;

    let cpu = Cpu::new(Some(threads))?;
    let mut executable = cpu.compile(&module)?;
    for (id, data) in &uploads {
        executable.upload(*id, data.as_tensor())?;
    }
    let mut whole = Duration::MAX;
    for _ in 0..runs {
        let start = Instant::now();
        executable.run(program)?;
        whole = whole.min(start.elapsed());
    }
    let mut steps: Vec<(&str, Duration)> = Vec::new();
    for run in 0..runs {
        for (i, step) in executable.profile(program)?.into_iter().enumerate() {
            if run == 0 {
                steps.push((step.name, step.time));
            }
            steps[i].1 = steps[i].1.min(step.time);
        }
    }
    let mut by_name: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    for (name, time) in &steps {
        let entry = by_name.entry(name).or_default();
        *entry = (entry.0 + 1, entry.1 + *time);
        if *time > Duration::from_micros(300) {
            println!("{:9.3} ms  {name}", time.as_secs_f64() * 1e3);
        }
    }
    let mut totals: Vec<_> = by_name.into_iter().collect();
    totals.sort_by_key(|(_, (_, time))| std::cmp::Reverse(*time));
    println!("by operation:");
    for (name, (count, time)) in totals {
        println!("{:9.3} ms  {count:3} × {name}", time.as_secs_f64() * 1e3);
    }
    let memory = executable.memory();
    println!(
        "{net}, batch {batch}, {threads} threads: {:.2} ms a step; {:.1} MB persistent, {:.1} MB temporary",
        whole.as_secs_f64() * 1e3,
        memory.persistent as f64 / 1e6,
        memory.temporary as f64 / 1e6,
    );
    Ok(())
}
