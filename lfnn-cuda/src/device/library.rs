//! A shared library of the toolkit, found and loaded.
//!
//! cudarc loads libraries too, but under the names of the one version for which it was built (CUDA 13's
//! NVRTC is not found by a program built for 12), in no other folders than the linker's, and it panics where a
//! library or a function is missing. NVRTC and cuBLASLt take a dozen functions each; those are looked up here.

use std::path::{Path, PathBuf};

use libloading::Library;

use super::error::CudaError;
use super::folders;

/// The first library of this name that opens; `open` looks up its functions and may refuse it.
///
/// # Errors
/// None that works; the error names the files that were there.
pub(super) fn find<T>(
    stem: &str,
    what: &'static str,
    install: &'static str,
    open: impl Fn(Library, PathBuf) -> Result<T, String>,
) -> Result<T, CudaError> {
    find_in(&folders::libraries(stem), what, install, open)
}

fn find_in<T>(
    candidates: &[PathBuf],
    what: &'static str,
    install: &'static str,
    open: impl Fn(Library, PathBuf) -> Result<T, String>,
) -> Result<T, CudaError> {
    let mut tried = Vec::new();
    for candidate in candidates {
        let library = match load(candidate) {
            Ok(library) => library,
            // A name that the linker does not know is no news; a file that does not load is.
            Err(_) if !candidate.is_file() => continue,
            Err(reason) => {
                tried.push(format!("{}: {reason}", candidate.display()));
                continue;
            }
        };
        let path = located(candidate);
        match open(library, path.clone()) {
            Ok(opened) => return Ok(opened),
            Err(reason) => tried.push(format!("{}: {reason}", path.display())),
        }
    }
    Err(CudaError::NoLibrary { library: what, install, tried })
}

fn load(path: &Path) -> Result<Library, String> {
    // SAFETY: loading a library runs its initialisers. This one is NVIDIA's, named by the system or found
    // in the folder of an installed package.
    unsafe { Library::new(path) }.map_err(|error| error.to_string())
}

/// Loads a library for the sake of those that will ask for it by name, and keeps it. Nothing is lost where
/// it is not there: then the system's own search decides.
pub(super) fn preload(path: &Path) {
    if let Ok(library) = load(path) {
        std::mem::forget(library);
    }
}

/// The file behind a name that the linker found: the one that is now mapped into the process.
fn located(name: &Path) -> PathBuf {
    if name.components().count() > 1 {
        return name.to_owned();
    }
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).map(Path::new);
    let stem = name.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    paths
        .into_iter()
        .find(|path| {
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            file.starts_with(stem)
        })
        .unwrap_or(name)
        .to_owned()
}

/// Looks up a function.
///
/// # Safety
/// `F` must be the type of a pointer to that function, and the pointer must not outlive the library.
pub(super) unsafe fn function<F: Copy>(library: &Library, name: &str) -> Result<F, String> {
    // SAFETY: as the caller promises.
    let symbol = unsafe { library.get::<F>(name.as_bytes()) };
    symbol.map(|symbol| *symbol).map_err(|_| format!("it has no function {name}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn a_library_that_is_no_library_is_told_and_a_name_that_is_nowhere_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libnvrtc.so.13");
        std::fs::write(&file, "not a library").unwrap();
        let candidates = [PathBuf::from("libnvrtc-nowhere.so"), file.clone()];
        let open = |_, _| Ok::<(), String>(());
        let Err(error) = find_in(&candidates, "NVRTC", "install it", open) else {
            panic!("it opened")
        };
        let text = error.to_string();
        assert!(text.starts_with("NVRTC was not found") && text.contains("install it"), "{text}");
        assert!(text.contains(file.to_str().unwrap()) && !text.contains("nowhere"), "{text}");
    }

    #[test]
    fn a_missing_function_refuses_the_library() {
        // The C library, which every process of this system has.
        let open = |library: Library, _| {
            // SAFETY: the function is not there, so there is no pointer to misuse.
            unsafe { function::<unsafe extern "C" fn()>(&library, "nvrtcVersion") }.map(|_| ())
        };
        let refused = load(Path::new("libc.so.6")).and_then(|library| open(library, ()));
        assert_eq!(refused, Err("it has no function nvrtcVersion".to_owned()));
    }
}
