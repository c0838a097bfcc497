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
    let read = |name: &str| std::fs::read_to_string(name).ok();
    let of_group = |name: &str| read(&format!("/sys/fs/cgroup/memory.{name}"));
    let system = read("/proc/meminfo").as_deref().and_then(available);
    let group = || left_of_group(&of_group("max")?, &of_group("current")?, &of_group("stat")?);
    [system, group()].into_iter().flatten().min()
}

/// What a control group's limit leaves beside its present use, of which cached files can go.
fn left_of_group(max: &str, current: &str, stat: &str) -> Option<usize> {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let of = |name: &str| stat.lines().find_map(|line| number(line.strip_prefix(name)?));
    let files = of("inactive_file ").unwrap_or(0).saturating_add(of("active_file ").unwrap_or(0));
    Some(number(max)?.saturating_sub(number(current)?.saturating_sub(files)))
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
    fn cached_files_of_a_control_group_count_as_available() {
        let stat = "anon 600\nfile 350\ninactive_file 250\nactive_file 50\n";
        assert_eq!(left_of_group("1000\n", "950\n", stat), Some(350));
        assert_eq!(left_of_group("1000\n", "950\n", ""), Some(50));
        assert_eq!(left_of_group("1000\n", "2000\n", ""), Some(0));
        assert_eq!(left_of_group("max\n", "950\n", stat), None);
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
