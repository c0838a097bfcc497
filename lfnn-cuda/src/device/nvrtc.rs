//! NVRTC, the compiler of CUDA C++ as a library. It needs neither a driver nor a GPU.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null;

use libloading::Library;

use super::error::{CudaError, Found, Version};
use super::folders;
use super::library::{find, function, preload};
use crate::plan::Element;

/// What to compile for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Machine code for GPUs of this compute capability, times ten.
    Device(u32),
    /// PTX of this compute capability, which the driver compiles for later GPUs.
    Virtual(u32),
}

impl Target {
    fn architecture(self) -> String {
        match self {
            Target::Device(capability) => format!("sm_{capability}"),
            Target::Virtual(capability) => format!("compute_{capability}"),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.architecture())
    }
}

/// What NVRTC made of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// A CUBIN, or PTX that ends with a zero byte: what the driver loads.
    pub bytes: Vec<u8>,
    /// What the compiler said.
    pub log: String,
}

type Program = *mut c_void;
type Status = c_int;
type CreateProgram = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> Status;
type GetSize = unsafe extern "C" fn(Program, *mut usize) -> Status;
type GetBytes = unsafe extern "C" fn(Program, *mut c_char) -> Status;
type GetInts = unsafe extern "C" fn(*mut c_int) -> Status;

/// The compiler.
#[derive(Debug)]
pub struct Nvrtc {
    found: Found,
    create: CreateProgram,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Status,
    destroy: unsafe extern "C" fn(*mut Program) -> Status,
    log: (GetSize, GetBytes),
    cubin: (GetSize, GetBytes),
    ptx: (GetSize, GetBytes),
    message: unsafe extern "C" fn(Status) -> *const c_char,
    architectures: Vec<u32>,
    // The functions above are in it.
    _library: Library,
}

const INSTALL: &str = "install the CUDA toolkit (12 or later), or `pip install nvidia-cuda-nvrtc`";

impl Nvrtc {
    /// Finds the compiler. Given the version of CUDA that a driver supports, one of a later major version is
    /// passed over: the driver might not load what it makes.
    ///
    /// # Errors
    /// [`CudaError::NoLibrary`].
    pub fn find(driver: Option<Version>) -> Result<Self, CudaError> {
        find("nvrtc", "NVRTC", INSTALL, |library, path| Self::open(library, path, driver))
    }

    fn open(library: Library, path: PathBuf, driver: Option<Version>) -> Result<Self, String> {
        // NVRTC asks for it by name when it compiles, and the linker may not look beside NVRTC.
        if let Some(folder) = path.parent() {
            for builtins in folders::libraries_beside(folder, "libnvrtc-builtins.so") {
                preload(&builtins);
            }
        }
        // SAFETY: the types are those of nvrtc.h, where all of these have been since CUDA 11.2, and the
        // pointers are kept beside the library.
        unsafe {
            let (mut major, mut minor) = (0, 0);
            let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status =
                function(&library, "nvrtcVersion")?;
            if version(&mut major, &mut minor) != 0 {
                return Err("cannot query its version".into());
            }
            let version = Version { major: major as u32, minor: minor as u32 };
            if version.major < 12 {
                return Err(format!("version {version}, and lfnn needs 12 or later"));
            }
            if let Some(driver) = driver
                && version.major > driver.major
            {
                return Err(format!("version {version}, and the driver supports CUDA {driver}"));
            }
            let count: GetInts = function(&library, "nvrtcGetNumSupportedArchs")?;
            let list: GetInts = function(&library, "nvrtcGetSupportedArchs")?;
            let mut number = 0;
            if count(&mut number) != 0 || number <= 0 {
                return Err("cannot query supported architectures".into());
            }
            let mut architectures = vec![0; number as usize];
            if list(architectures.as_mut_ptr()) != 0 {
                return Err("cannot query supported architectures".into());
            }
            Ok(Self {
                found: Found { version, path },
                create: function(&library, "nvrtcCreateProgram")?,
                compile: function(&library, "nvrtcCompileProgram")?,
                destroy: function(&library, "nvrtcDestroyProgram")?,
                log: (
                    function(&library, "nvrtcGetProgramLogSize")?,
                    function(&library, "nvrtcGetProgramLog")?,
                ),
                cubin: (
                    function(&library, "nvrtcGetCUBINSize")?,
                    function(&library, "nvrtcGetCUBIN")?,
                ),
                ptx: (function(&library, "nvrtcGetPTXSize")?, function(&library, "nvrtcGetPTX")?),
                message: function(&library, "nvrtcGetErrorString")?,
                architectures: architectures.into_iter().map(|a| a as u32).collect(),
                _library: library,
            })
        }
    }

    /// Its version, and where it was found.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// What to compile for a GPU of this compute capability (times ten): machine code, or PTX of the highest
    /// capability that the compiler knows where the GPU is newer than the compiler.
    pub fn target(&self, capability: u32) -> Target {
        if self.architectures.contains(&capability) {
            return Target::Device(capability);
        }
        let older = self.architectures.iter().copied().filter(|known| *known <= capability);
        Target::Virtual(older.max().unwrap_or(capability))
    }

    /// Compiles a source.
    ///
    /// # Errors
    /// [`CudaError::Compile`] with what the compiler said.
    pub fn compile(
        &self,
        name: &str,
        source: &str,
        target: Target,
        options: &[String],
    ) -> Result<Image, CudaError> {
        let fail = |log: String| CudaError::Compile {
            source_name: name.to_owned(),
            target: target.to_string(),
            version: self.found.version,
            log,
        };
        let nul = |_| fail("a zero byte in the source or in an option".into());
        let text = CString::new(source).map_err(nul)?;
        let title = CString::new(name).map_err(nul)?;
        let mut all = vec![
            CString::new(format!("--gpu-architecture={target}")).map_err(nul)?,
            c"--std=c++17".to_owned(),
        ];
        for option in options {
            all.push(CString::new(option.as_str()).map_err(nul)?);
        }
        let pointers: Vec<*const c_char> = all.iter().map(|option| option.as_ptr()).collect();

        let mut program: Program = std::ptr::null_mut();
        // SAFETY: the texts end with a zero and live until the program is destroyed; the program is used by
        // this thread alone; buffers have the sizes that the library asks for.
        unsafe {
            let status =
                (self.create)(&mut program, text.as_ptr(), title.as_ptr(), 0, null(), null());
            if status != 0 {
                return Err(fail(self.describe(status)));
            }
            let status = (self.compile)(program, pointers.len() as c_int, pointers.as_ptr());
            let log = fetch(program, self.log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).trim_end_matches(['\0', '\n']).to_owned();
            let bytes = match (status, target) {
                (0, Target::Device(_)) => fetch(program, self.cubin),
                (0, Target::Virtual(_)) => fetch(program, self.ptx),
                _ => Err(status),
            };
            (self.destroy)(&mut program);
            match bytes {
                Ok(bytes) => Ok(Image { bytes, log }),
                Err(status) if log.is_empty() => Err(fail(self.describe(status))),
                Err(_) => Err(fail(log)),
            }
        }
    }

    fn describe(&self, status: Status) -> String {
        // SAFETY: the library returns a static text, or nothing.
        let text = unsafe {
            let text = (self.message)(status);
            if text.is_null() { c"" } else { CStr::from_ptr(text) }
        };
        format!("{} ({status})", text.to_string_lossy())
    }
}

/// The bytes of a compiled program.
unsafe fn fetch(program: Program, (size, get): (GetSize, GetBytes)) -> Result<Vec<u8>, Status> {
    let mut length = 0;
    // SAFETY: the program is alive, as the caller promises, and the buffer has the length that was told.
    unsafe {
        let status = size(program, &mut length);
        if status != 0 {
            return Err(status);
        }
        let mut bytes = vec![0_u8; length];
        match get(program, bytes.as_mut_ptr().cast()) {
            0 => Ok(bytes),
            status => Err(status),
        }
    }
}

/// The options to compile a kernel file with this type of activations: 16-bit types need headers.
///
/// # Errors
/// [`CudaError::NoHeaders`], where headers are needed.
pub fn options(act: Element) -> Result<Vec<String>, CudaError> {
    let mut all = vec![
        // Lines for profilers and compute-sanitizer; they change no instruction.
        "--generate-line-info".to_owned(),
        // Closures inside kernels are for the device.
        "--device-as-default-execution-space".to_owned(),
    ];
    if act != Element::F32 {
        const HEADER: &str = "cuda_fp16.h";
        let folders = folders::headers(HEADER).ok_or(CudaError::NoHeaders { header: HEADER })?;
        let include = |folder: &PathBuf| format!("--include-path={}", Path::display(folder));
        all.extend(folders.iter().map(include));
    }
    Ok(all)
}
