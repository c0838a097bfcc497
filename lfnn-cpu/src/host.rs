//! What the machine has: threads that make sense, and memory.

use std::fmt;
use std::num::NonZero;

/// How many threads a backend may have at most, on any machine.
const THREADS: usize = 64;

/// The most threads that a backend takes: four for each that the machine runs at once, and 64 at least.
/// More would only wait for one another.
#[must_use]
pub fn max_threads() -> usize {
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
    at_once.saturating_mul(4).max(THREADS)
}

/// Bytes that a program can still have without swapping, where the system tells (Linux): what is free or in caches
/// that it gives up, and no more than its control group has left.
#[must_use]
pub fn available_memory() -> Option<usize> {
    let system = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(available);
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        text.trim().parse::<usize>().ok()
    };
    let group = read("memory.max").zip(read("memory.current"));
    let left = group.map(|(max, current)| max.saturating_sub(current));
    [system, left].into_iter().flatten().min()
}

/// The line `MemAvailable` of `/proc/meminfo`, in bytes.
fn available(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// A number of bytes in a unit that leaves few digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut unit) = (self.0 as f64, "B");
        for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
            if value < 1024.0 {
                break;
            }
            (value, unit) = (value / 1024.0, larger);
        }
        if unit == "B" { write!(f, "{} B", self.0) } else { write!(f, "{value:.1} {unit}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_from_the_systems_table() {
        let text = "MemTotal:  100 kB\nMemFree: 7 kB\nMemAvailable:     42 kB\nBuffers: 1 kB\n";
        assert_eq!(available(text), Some(42 * 1024));
        for odd in
            ["", "MemAvailable: 42", "MemAvailable: x kB", "MemAvailable: 99999999999999999999 kB"]
        {
            assert_eq!(available(odd), None, "{odd}");
        }
    }

    #[test]
    fn bytes_have_a_unit_that_leaves_few_digits() {
        assert_eq!(Bytes(1000).to_string(), "1000 B");
        assert_eq!(Bytes(3 << 20).to_string(), "3.0 MiB");
        assert_eq!(Bytes(usize::MAX).to_string(), "16.0 EiB");
    }

    #[test]
    fn threads_are_limited_to_a_few_for_each_that_runs() {
        assert!(max_threads() >= 64);
    }
}
