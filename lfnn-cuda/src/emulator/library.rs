//! A compiled kernel file, loaded: its kernels, and how one is launched.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::EmulatorError;

/// How a kernel takes an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pointer,
    Whole,
    Real,
    Struct,
}

/// `emulator::Entry` of the header.
#[repr(C)]
struct Entry {
    name: *const c_char,
    call: *const c_void,
    count: c_uint,
    kinds: *const c_uint,
    sizes: *const c_uint,
}

type Kernels = unsafe extern "C" fn(*mut c_uint) -> *const Entry;
type LaunchFunction = unsafe extern "C" fn(
    *const Entry,
    *const c_uint,
    *const c_uint,
    c_uint,
    u64,
    *mut *mut c_void,
    *mut c_char,
    c_uint,
) -> c_int;

struct Kernel {
    entry: *const Entry,
    parameters: Vec<(Kind, usize)>,
}

/// The kernels of a compiled source.
pub(super) struct Library {
    kernels: HashMap<String, Kernel>,
    launch: LaunchFunction,
    /// The threads of a launch are in static variables of the library: one launch at a time.
    busy: Mutex<()>,
    /// Keeps the code in memory.
    _library: libloading::Library,
}

// SAFETY: the entries are constants in the library's memory, which lives as long as it does.
unsafe impl Send for Library {}
// SAFETY: as above; launches take the lock.
unsafe impl Sync for Library {}

/// An argument of a launch: how it is passed, and its bytes.
pub(super) type Value = (Kind, Vec<u8>);

impl Library {
    /// The library that `compile` has made at this path. A process has each once: the linker gives all who load it
    /// the same static variables, so they need the same lock.
    pub(super) fn open(path: &Path) -> Result<Arc<Self>, EmulatorError> {
        static LOADED: Mutex<BTreeMap<PathBuf, Arc<Library>>> = Mutex::new(BTreeMap::new());
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = loaded.get(path) {
            return Ok(library.clone());
        }
        let library = Arc::new(Self::load(path)?);
        loaded.insert(path.to_owned(), library.clone());
        Ok(library)
    }

    fn load(path: &Path) -> Result<Self, EmulatorError> {
        let failed = |error| EmulatorError::Load { path: path.to_owned(), error };
        // SAFETY: a library of our own, whose initialisers fill static variables of its own.
        let library = unsafe { libloading::Library::new(path) }.map_err(failed)?;
        // SAFETY: both are exported with these signatures by `compile::translation_unit`.
        let (list, launch) = unsafe {
            let list = *library.get::<Kernels>(b"lfnn_kernels").map_err(failed)?;
            (list, *library.get::<LaunchFunction>(b"lfnn_launch").map_err(failed)?)
        };
        let mut count = 0;
        // SAFETY: gives a table of `count` entries that lives as long as the library, each with
        // `count` kinds and sizes.
        let kernels = unsafe {
            let entries = list(&mut count);
            (0..count as usize)
                .map(|i| {
                    let entry = entries.add(i);
                    let name = CStr::from_ptr((*entry).name).to_string_lossy().into_owned();
                    let parameters = (0..(*entry).count as usize)
                        .map(|p| (kind(*(*entry).kinds.add(p)), *(*entry).sizes.add(p) as usize))
                        .collect();
                    (name, Kernel { entry, parameters })
                })
                .collect()
        };
        Ok(Self { kernels, launch, busy: Mutex::new(()), _library: library })
    }

    /// Runs a kernel.
    ///
    /// # Safety
    /// The pointers among the values point to memory that the kernel may access as it does.
    pub(super) unsafe fn launch(
        &self,
        name: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared: u32,
        seed: u64,
        values: &mut [Value],
    ) -> Result<(), EmulatorError> {
        let failed = |message: String| EmulatorError::Launch { kernel: name.into(), message };
        let kernel =
            self.kernels.get(name).ok_or_else(|| failed("there is no such kernel".into()))?;
        let given: Vec<_> = values.iter().map(|(kind, bytes)| (*kind, bytes.len())).collect();
        if given != kernel.parameters {
            return Err(failed(format!("takes {:?}, was given {given:?}", kernel.parameters)));
        }
        check_extents(grid, block, shared).map_err(failed)?;
        let mut places: Vec<*mut c_void> =
            values.iter_mut().map(|(_, bytes)| bytes.as_mut_ptr().cast()).collect();
        let mut message = [0 as c_char; 512];
        let lock = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the entry is of this library; extents have three elements, there is a value for
        // each parameter with its size; the lock is held; the rest is the caller's promise.
        let status = unsafe {
            (self.launch)(
                kernel.entry,
                grid.as_ptr(),
                block.as_ptr(),
                shared,
                seed,
                places.as_mut_ptr(),
                message.as_mut_ptr(),
                message.len() as c_uint,
            )
        };
        drop(lock);
        if status == 0 {
            return Ok(());
        }
        // SAFETY: zeroed before, and written by `snprintf` within its length.
        let message = unsafe { CStr::from_ptr(message.as_ptr()) };
        Err(failed(message.to_string_lossy().into_owned()))
    }
}

/// The limits of every GPU that the crate supports.
fn check_extents(grid: [u32; 3], block: [u32; 3], shared: u32) -> Result<(), String> {
    let threads: u64 = block.iter().map(|&n| u64::from(n)).product();
    let most = [(1 << 31) - 1, 65_535, 65_535];
    if !(1..=1024).contains(&threads) || block[2] > 64 {
        return Err(format!("a block of {block:?} threads, expected 1 to 1024"));
    }
    if (0..3).any(|axis| grid[axis] == 0 || grid[axis] > most[axis]) {
        return Err(format!("a grid of {grid:?} blocks, expected 1 to {most:?}"));
    }
    if shared > 227 * 1024 {
        return Err(format!("{shared} bytes of shared memory, expected at most 227 KiB"));
    }
    Ok(())
}

fn kind(code: c_uint) -> Kind {
    match code {
        0 => Kind::Pointer,
        1 => Kind::Whole,
        2 => Kind::Real,
        _ => Kind::Struct,
    }
}
