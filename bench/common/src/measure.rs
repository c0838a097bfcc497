//! Measuring blocks of steps and of predictions.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::Contender;

/// Steps before anything is measured, but for steps that take longer than the measurement should: one of them.
const WARM_UP: usize = 3;
/// Blocks at least.
const BLOCKS: usize = 5;
/// What a block should take at least, so that the clock and a passing disturbance are little in it.
const BLOCK: Duration = Duration::from_millis(200);

/// Images a second, one number a block.
pub(crate) struct Speeds {
    pub(crate) training: Vec<f64>,
    pub(crate) inference: Vec<f64>,
}

/// Measures training, then inference, each for this long and at least five blocks.
pub(crate) fn speeds(contender: &mut impl Contender, batch: usize, seconds: f64) -> Result<Speeds> {
    let budget = Duration::try_from_secs_f64(seconds).context("--seconds")?;
    let training = blocks(budget, batch, || contender.step())?;
    let inference = blocks(budget, batch, || contender.infer())?;
    Ok(Speeds { training, inference })
}

/// Speeds of work on a batch, done over and over.
fn blocks(
    budget: Duration,
    batch: usize,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Vec<f64>> {
    let (mut once, begin) = (Duration::MAX, Instant::now());
    for i in 0..WARM_UP {
        let start = Instant::now();
        work()?;
        once = once.min(start.elapsed());
        if i == 0 && begin.elapsed() > budget {
            break;
        }
    }
    let steps = BLOCK.as_nanos().div_ceil(once.as_nanos().max(1)) as usize;
    let (mut speeds, begin) = (Vec::new(), Instant::now());
    while speeds.len() < BLOCKS || begin.elapsed() < budget {
        let start = Instant::now();
        for _ in 0..steps {
            work()?;
        }
        speeds.push((steps * batch) as f64 / start.elapsed().as_secs_f64());
    }
    Ok(speeds)
}

/// Largest resident memory of this process so far, in bytes.
pub(crate) fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let kibibytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
        .context("/proc/self/status has no VmHWM")?;
    Ok(kibibytes * 1024)
}
