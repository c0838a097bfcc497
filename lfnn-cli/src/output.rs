//! What the program writes to its standard output: how much, and what becomes of a reader that goes
//! away.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::MultiProgress;

use crate::failure::Failure;

/// How much is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing: the work is part of other work that reports itself.
    Silent,
    /// Results alone.
    Quiet,
    /// What a person wants to see.
    Normal,
    /// Everything.
    Verbose,
}

/// The standard output, and progress bars on the standard error of a terminal.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    level: Level,
    bars: Option<MultiProgress>,
    /// Whether the log of work under way could not be written.
    lost: Arc<AtomicBool>,
    /// It is made as soon as the program runs.
    began: Instant,
}

impl Output {
    /// Finds out whether there is a terminal.
    pub(crate) fn new(level: Level) -> Self {
        let terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
        let bars = (terminal && level > Level::Quiet).then(MultiProgress::new);
        Self { level, bars, lost: Arc::default(), began: Instant::now() }
    }

    /// How much is printed.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// How long the program has been running.
    pub(crate) fn running(&self) -> Duration {
        self.began.elapsed()
    }

    /// Where progress bars are shown, on a terminal.
    pub(crate) fn bars(&self) -> Option<&MultiProgress> {
        self.bars.as_ref()
    }

    /// Writes a result: also when quiet.
    ///
    /// # Errors
    /// A standard output that cannot be written. A reader that has gone away is no error: nobody
    /// wants the rest.
    pub(crate) fn result(&self, text: &str) -> Result<(), Failure> {
        if self.level == Level::Silent {
            return Ok(());
        }
        let write = || {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                out.write_all(b"\n")?;
            }
            out.flush()
        };
        let written = match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        };
        match written {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                let error = anyhow::Error::new(error).context("cannot write to standard output");
                Err(Failure::Runtime(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes what a person wants to see on the way.
    ///
    /// # Errors
    /// See [`Output::result`].
    pub(crate) fn info(&self, text: &str) -> Result<(), Failure> {
        if self.level >= Level::Normal { self.result(text) } else { Ok(()) }
    }

    /// Writes what was asked for with `-v`.
    ///
    /// # Errors
    /// See [`Output::result`].
    #[cfg(feature = "report")]
    pub(crate) fn detail(&self, text: &str) -> Result<(), Failure> {
        if self.level >= Level::Verbose { self.result(text) } else { Ok(()) }
    }

    /// Writes a line about work that is under way, at this level or above. A standard output that cannot be
    /// written does not end the work: a note says so once.
    pub(crate) fn log(&self, level: Level, text: &str) {
        if self.level < level || self.lost.load(Ordering::Relaxed) {
            return;
        }
        if let Err(failure) = self.result(text)
            && !self.lost.swap(true, Ordering::Relaxed)
        {
            self.note(&format!("note: {failure}; the work continues without it"));
        }
    }

    /// Writes a note to the standard error, whatever becomes of it.
    pub(crate) fn note(&self, text: &str) {
        let write = || {
            let _ = writeln!(io::stderr(), "{text}");
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}
