//! `origin.json`: the command that began a run, when, and on which machine.
//!
//! It is a file of its own, because checkpoints and summaries of the same run are the same everywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::files::write_whole;

/// Where something comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The command, as a shell takes it.
    pub(crate) command: String,
    /// When it began: `2026-01-31 12:00:00 UTC`.
    pub(crate) date: String,
    /// Processor, threads and system; no name of a machine or a person.
    pub(crate) machine: String,
    /// Version of this program.
    pub(crate) version: String,
}

/// The file in a run's folder.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("origin.json")
}

impl Origin {
    /// The command of this process.
    pub(crate) fn now() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self {
            command: command(),
            date: date(seconds),
            machine: machine(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The program with its version.
    #[cfg(feature = "report")]
    pub(crate) fn program(&self) -> String {
        format!("lfnn-cli {}", self.version)
    }

    /// The origin of the run in a folder; none in a folder of an older version, or if the file is damaged.
    #[cfg(feature = "report")]
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(path(folder)).ok()?).ok()
    }

    /// Writes it into a run's folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        write_whole(&path(folder), text.as_bytes())
    }

    /// Removes the file of a run in which nothing has been trained.
    pub(super) fn discard(folder: &Path) {
        let _ = fs::remove_file(path(folder));
    }
}

fn command() -> String {
    let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = std::iter::once("lfnn-cli".to_owned()).chain(arguments).collect();
    // A NUL cannot be in an argument, so this does not fail.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map(|(_, name)| format!("{}, ", name.trim())).unwrap_or_default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = crate::format::number_of(threads, "thread");
    format!("{model}{threads}, {} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Seconds since 1970 as a date of the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
fn date(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400 + 719_468, seconds % 86_400);
    // Years begin in March, so that a leap day is the last of a year.
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = 400 * era + year + next;
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // By `date -u -d @SECONDS`.
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
