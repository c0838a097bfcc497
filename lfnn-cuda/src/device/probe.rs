//! What this machine has of what the backend needs, asked in an order in which each answer makes the next
//! question safe.

use cudarc::driver::result;
use cudarc::driver::sys::CUresult;

use super::cublaslt::CublasLt;
use super::driver::{self, DeviceInfo};
use super::error::{CudaError, Found, Version};
use super::nvrtc::Nvrtc;
use crate::Precision;

/// The oldest CUDA that a driver must support.
const OLDEST_DRIVER: Version = Version { major: 12, minor: 0 };
/// The oldest compute capability, times ten.
const OLDEST_GPU: u32 = 75;
/// That of tensor cores for TF32 and bfloat16.
const AMPERE: u32 = 80;

/// Why a driver does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NoStart {
    /// It finds no GPU.
    NoGpu,
    /// Anything else, as the driver names it.
    Other(String),
}

/// Questions to a driver.
trait Driver {
    /// Whether there is one.
    fn is_present(&self) -> bool;
    /// The version of CUDA that it supports.
    fn version(&self) -> Result<Version, String>;
    /// Starts it.
    fn start(&self) -> Result<(), NoStart>;
    /// How many GPUs it has.
    fn count(&self) -> Result<usize, String>;
    /// One of them.
    fn device(&self, ordinal: usize) -> Result<DeviceInfo, String>;
}

/// The driver of this machine.
struct System;

impl Driver for System {
    fn is_present(&self) -> bool {
        driver::is_present()
    }

    fn version(&self) -> Result<Version, String> {
        driver::version().map_err(|error| driver::describe(&error))
    }

    fn start(&self) -> Result<(), NoStart> {
        result::init().map_err(|error| match error.0 {
            CUresult::CUDA_ERROR_NO_DEVICE => NoStart::NoGpu,
            _ => NoStart::Other(driver::describe(&error)),
        })
    }

    fn count(&self) -> Result<usize, String> {
        let count = result::device::get_count().map_err(|error| driver::describe(&error))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    fn device(&self, ordinal: usize) -> Result<DeviceInfo, String> {
        driver::device_info(ordinal).map_err(|error| driver::describe(&error))
    }
}

/// A driver that works, and its GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpus {
    /// The version of CUDA that the driver supports.
    pub driver: Version,
    /// The GPUs, by ordinal.
    pub devices: Vec<DeviceInfo>,
}

fn gpus(driver: &impl Driver) -> Result<Gpus, CudaError> {
    let fails = |reason| CudaError::DriverFails { reason };
    if !driver.is_present() {
        return Err(CudaError::NoDriver);
    }
    let version = driver.version().map_err(fails)?;
    if version < OLDEST_DRIVER {
        return Err(CudaError::DriverTooOld { found: version, needed: OLDEST_DRIVER });
    }
    driver.start().map_err(|why| match why {
        NoStart::NoGpu => CudaError::NoGpu,
        NoStart::Other(reason) => fails(reason),
    })?;
    let count = driver.count().map_err(fails)?;
    if count == 0 {
        return Err(CudaError::NoGpu);
    }
    let devices = (0..count).map(|ordinal| driver.device(ordinal).map_err(fails));
    Ok(Gpus { driver: version, devices: devices.collect::<Result<_, _>>()? })
}

impl Gpus {
    /// Asks the driver of this machine.
    ///
    /// # Errors
    /// No driver, one that does not start or is too old, or no GPU.
    pub fn find() -> Result<Self, CudaError> {
        gpus(&System)
    }

    /// A GPU that can compute in a precision.
    ///
    /// # Errors
    /// An ordinal that is not there, or a GPU that is too old.
    pub fn choose(&self, ordinal: usize, precision: Precision) -> Result<&DeviceInfo, CudaError> {
        let Some(device) = self.devices.get(ordinal) else {
            return Err(CudaError::NoSuchOrdinal { ordinal, count: self.devices.len() });
        };
        let (name, capability) = (device.name.clone(), device.capability);
        if capability < OLDEST_GPU {
            return Err(CudaError::GpuTooOld { name, capability });
        }
        let needed = match precision {
            Precision::F32 | Precision::F16 => OLDEST_GPU,
            Precision::Tf32 | Precision::Bf16 => AMPERE,
        };
        if capability < needed {
            let precision = precision.name();
            return Err(CudaError::Precision { name, precision, needed, capability });
        }
        Ok(device)
    }
}

/// Everything that the backend needs, found or not: what `lfnn-cli devices` lists.
#[derive(Debug)]
pub struct Machine {
    /// Driver and GPUs.
    pub gpus: Result<Gpus, CudaError>,
    /// The compiler.
    pub nvrtc: Result<Found, CudaError>,
    /// The library of matrix products.
    pub cublaslt: Result<Found, CudaError>,
}

impl Machine {
    /// Looks for all of it, whether or not something else is missing.
    pub fn look() -> Self {
        let gpus = Gpus::find();
        let driver = gpus.as_ref().ok().map(|gpus| gpus.driver);
        Self {
            nvrtc: Nvrtc::find(driver).map(|library| library.found().clone()),
            cublaslt: CublasLt::find(driver).map(|library| library.found().clone()),
            gpus,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    /// A driver that gives these answers.
    struct Answers {
        present: bool,
        version: Result<Version, String>,
        start: Result<(), NoStart>,
        capabilities: Vec<u32>,
    }

    impl Driver for Answers {
        fn is_present(&self) -> bool {
            self.present
        }
        fn version(&self) -> Result<Version, String> {
            assert!(self.present, "a function of a library that is not there");
            self.version.clone()
        }
        fn start(&self) -> Result<(), NoStart> {
            assert!(self.present, "a function of a library that is not there");
            self.start.clone()
        }
        fn count(&self) -> Result<usize, String> {
            assert_eq!(self.start, Ok(()), "it has not started");
            Ok(self.capabilities.len())
        }
        fn device(&self, ordinal: usize) -> Result<DeviceInfo, String> {
            let name = format!("GPU {ordinal}");
            let capability = self.capabilities[ordinal];
            Ok(DeviceInfo { name, capability, memory: 1 << 33, multiprocessors: 100 })
        }
    }

    fn with(capabilities: &[u32]) -> Answers {
        Answers {
            present: true,
            version: Ok(Version { major: 12, minor: 4 }),
            start: Ok(()),
            capabilities: capabilities.to_vec(),
        }
    }

    #[test]
    fn what_is_missing_of_the_driver_is_told() {
        let error = |answers: Answers| gpus(&answers).unwrap_err().to_string();
        let none = error(Answers { present: false, ..with(&[90]) });
        assert!(none.contains("no NVIDIA driver") && none.contains("nvidia-driver"), "{none}");
        let old = Version { major: 11, minor: 8 };
        let old = error(Answers { version: Ok(old), ..with(&[90]) });
        assert!(old.contains("CUDA 11.8") && old.contains("needs 12.0"), "{old}");
        let broken = error(Answers { version: Err("unknown (999)".into()), ..with(&[90]) });
        assert!(broken.contains("does not start: unknown (999)"), "{broken}");
        let mismatch = NoStart::Other("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH".into());
        let mismatch = error(Answers { start: Err(mismatch), ..with(&[90]) });
        assert!(mismatch.contains("DRIVER_MISMATCH"), "{mismatch}");
        let no_gpu = error(Answers { start: Err(NoStart::NoGpu), ..with(&[90]) });
        assert!(no_gpu.contains("no GPU") && no_gpu.contains("CUDA_VISIBLE_DEVICES"), "{no_gpu}");
        assert_eq!(error(with(&[])), no_gpu);
    }

    #[test]
    fn a_gpu_is_chosen_by_ordinal_and_checked() {
        let gpus = gpus(&with(&[90, 75, 70])).unwrap();
        assert_eq!(gpus.choose(0, Precision::Bf16).unwrap().capability, 90);
        assert_eq!(gpus.choose(1, Precision::F32).unwrap().name, "GPU 1");
        assert_eq!(gpus.choose(1, Precision::F16).unwrap().name, "GPU 1");
        let error = |ordinal, precision| gpus.choose(ordinal, precision).unwrap_err().to_string();
        let three = error(3, Precision::F32);
        assert!(three.contains("GPU 3 not found (3 available, numbered from 0)"), "{three}");
        let old = error(2, Precision::F32);
        assert!(old.contains("GPU 2 has compute capability 7.0"), "{old}");
        for precision in [Precision::Tf32, Precision::Bf16] {
            let told = error(1, precision);
            let wanted = format!("cannot compute in {}", precision.name());
            assert!(
                told.contains(&wanted) && told.contains("needs compute capability 8.0"),
                "{told}"
            );
        }
    }

    #[test]
    fn this_machine_is_looked_at_without_a_panic() {
        let machine = Machine::look();
        match &machine.gpus {
            Ok(gpus) => assert!(!gpus.devices.is_empty()),
            Err(error) => println!("no GPU here: {error}"),
        }
        if let Err(error) = &machine.nvrtc {
            assert!(error.to_string().contains("pip install nvidia-cuda-nvrtc"), "{error}");
        }
        if let Err(error) = &machine.cublaslt {
            assert!(error.to_string().contains("pip install nvidia-cublas"), "{error}");
        }
    }
}
