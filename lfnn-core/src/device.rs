//! A device chosen by name when a program runs: `auto`, `cpu`, `cuda`, `cuda:1`.

use std::fmt;

use thiserror::Error;

use crate::backend::{Backend, BackendError, Executable, PeakRates, Precision};
use crate::program::ProgramSet;

/// A kind of device that can be opened by name.
pub trait Platform: fmt::Debug + Sync {
    /// Its name, such as `cpu`.
    fn name(&self) -> &'static str;

    /// Opens the device with this number.
    ///
    /// # Errors
    /// A device that is not there or lacks the precision.
    fn open(&self, ordinal: usize, precision: Precision) -> Result<Box<dyn Backend>, BackendError>;
}

/// An open device, and why others were passed over.
#[derive(Debug)]
pub struct Device {
    backend: Box<dyn Backend>,
    passed_over: Vec<Unavailable>,
}

/// A platform without a device.
#[derive(Debug, Error)]
#[error("{platform}: {source}")]
pub struct Unavailable {
    /// The platform.
    pub platform: &'static str,
    /// Why.
    pub source: BackendError,
}

/// Why there is no device.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// A name that no platform has.
    #[error("device `{found}`: expected `auto` or one of {expected}")]
    Unknown {
        /// The name.
        found: String,
        /// The names of the platforms, each alone or with a number.
        expected: String,
    },
    /// The device that was asked for is not there.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// No platform has a device.
    #[error("no device: {0}")]
    None(String),
}

impl Device {
    /// Opens the device with a name: `auto` for the first platform that has one, the name of a platform for its first
    /// device, or name and number, such as `cuda:1`.
    ///
    /// # Errors
    /// An unknown name, or no such device.
    pub fn open(
        name: &str,
        precision: Precision,
        platforms: &[&dyn Platform],
    ) -> Result<Self, DeviceError> {
        let try_open = |platform: &&dyn Platform, ordinal| {
            let opened = platform.open(ordinal, precision);
            opened.map_err(|source| Unavailable { platform: platform.name(), source })
        };
        let mut passed_over = Vec::new();
        if name == "auto" {
            for platform in platforms {
                match try_open(platform, 0) {
                    Ok(backend) => return Ok(Self { backend, passed_over }),
                    Err(unavailable) => passed_over.push(unavailable),
                }
            }
            let reasons: Vec<String> = passed_over.iter().map(Unavailable::to_string).collect();
            return Err(DeviceError::None(reasons.join("; ")));
        }
        let (kind, ordinal) = name.split_once(':').unwrap_or((name, "0"));
        let platform = platforms.iter().find(|platform| platform.name() == kind);
        match (platform, ordinal.parse()) {
            (Some(platform), Ok(ordinal)) => {
                Ok(Self { backend: try_open(platform, ordinal)?, passed_over })
            }
            _ => {
                let names: Vec<_> = platforms.iter().map(|platform| platform.name()).collect();
                Err(DeviceError::Unknown { found: name.into(), expected: names.join(", ") })
            }
        }
    }

    /// The platforms that `auto` passed over, with the reasons.
    pub fn passed_over(&self) -> &[Unavailable] {
        &self.passed_over
    }
}

impl Backend for Device {
    fn name(&self) -> String {
        self.backend.name()
    }

    fn compile(&self, set: &ProgramSet) -> Result<Box<dyn Executable>, BackendError> {
        self.backend.compile(set)
    }

    fn peak_rates(&self) -> Result<Option<PeakRates>, BackendError> {
        self.backend.peak_rates()
    }
}
