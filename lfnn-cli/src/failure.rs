//! How the program fails: what went wrong, and with which exit code it ends.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use lfnn_core::train::TrainError;
use lfnn_data::DataError;

use crate::interrupt;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the configuration is wrong: exit code 2.
    Usage(anyhow::Error),
    /// Something went wrong while running: exit code 1.
    Runtime(anyhow::Error),
    /// The user stopped it, and was told how to go on: exit code 130.
    Interrupted,
}

/// What a command, or a part of it, gives.
pub(crate) type Result<T = (), E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// Prints the error, if there is one, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let code = match self {
            Failure::Usage(_) => 2,
            Failure::Runtime(_) => 1,
            Failure::Interrupted => return ExitCode::from(interrupt::EXIT_CODE),
        };
        // Nothing is left to be done if even the error cannot be written.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("error: {self}\n").as_bytes(),
        );
        ExitCode::from(code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(error) | Failure::Runtime(error) => f.write_str(&chain(error.as_ref())),
            Failure::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// The failure of a command or option that needs a feature with which this program was not built.
#[cfg(not(all(feature = "cuda", feature = "download", feature = "report")))]
pub(crate) fn lacks(what: &str, feature: &str) -> Failure {
    Failure::Usage(anyhow::anyhow!(
        "{what} needs the feature `{feature}`, which this build of lfnn-cli lacks"
    ))
}

/// An error with its causes. A cause that its error has already told is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Runtime(error.into())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Runtime(error.into())
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Setting { .. }
            | DataError::UnknownDataset { .. }
            | DataError::HoldOut { .. }
            | DataError::NotFetchable { .. } => Self::Usage(error.into()),
            _ => Self::Runtime(error.into()),
        }
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Config(error) => Self::Usage(error.into()),
            error => Self::Runtime(error.into()),
        }
    }
}

/// Marks an error as one of the command line or the configuration.
pub(crate) trait Usage<T> {
    /// The same result, with exit code 2.
    fn usage(self) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> Usage<T> for Result<T, E> {
    fn usage(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Usage(error.into()))
    }
}
