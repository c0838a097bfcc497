//! Where CUDA's libraries and headers may be.
//!
//! A library is asked for by name first, so that the system's own search (LD_LIBRARY_PATH, the linker's
//! cache) decides; then come the toolkit's folders; then the wheels of Python packages, which is where
//! NVRTC and cuBLASLt are on most machines that have PyTorch and no toolkit.

use std::path::{Path, PathBuf};

/// Versions of CUDA whose libraries are asked for by name, the newest first.
const MAJORS: [u32; 2] = [13, 12];

/// Names and files that may be the library `lib{stem}.so`, in the order in which they are to be tried.
pub(super) fn libraries(stem: &str) -> Vec<PathBuf> {
    let name = format!("lib{stem}.so");
    let mut all: Vec<PathBuf> =
        MAJORS.iter().map(|major| PathBuf::from(format!("{name}.{major}"))).collect();
    all.push(PathBuf::from(&name));
    for folder in toolkits() {
        all.extend(libraries_beside(&folder.join("lib64"), &name));
    }
    for folder in wheels() {
        all.extend(libraries_beside(&folder.join("lib"), &name));
    }
    all
}

/// Files of a folder that are called `name`, or `name` and a version, the newest first.
pub(super) fn libraries_beside(folder: &Path, name: &str) -> Vec<PathBuf> {
    let version = |path: &PathBuf| -> Option<Vec<u32>> {
        let rest = path.file_name()?.to_str()?.strip_prefix(name)?;
        if rest.is_empty() {
            return Some(Vec::new());
        }
        rest.strip_prefix('.')?.split('.').map(|number| number.parse().ok()).collect()
    };
    let mut found: Vec<(Vec<u32>, PathBuf)> =
        entries(folder).into_iter().filter_map(|path| Some((version(&path)?, path))).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

/// Folders with the headers that `header` needs: its own, and that of the C++ core libraries beside it.
pub(super) fn headers(header: &str) -> Option<Vec<PathBuf>> {
    let folder = toolkits()
        .into_iter()
        .chain(wheels())
        .map(|folder| folder.join("include"))
        .find(|include| include.join(header).is_file())?;
    let core = folder.join("cccl");
    Some(if core.is_dir() { vec![folder, core] } else { vec![folder] })
}

/// Folders of an installed toolkit.
fn toolkits() -> Vec<PathBuf> {
    let named = ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT"].iter().filter_map(std::env::var_os);
    named.map(PathBuf::from).chain([PathBuf::from("/usr/local/cuda")]).collect()
}

/// Folders of NVIDIA's Python packages: `nvidia/cu13`, or `nvidia/cublas` and its like.
fn wheels() -> Vec<PathBuf> {
    let mut prefixes: Vec<PathBuf> = Vec::new();
    let named = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(std::env::var_os);
    prefixes.extend(named.map(PathBuf::from));
    for folder in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        if folder.join("python3").exists()
            && let Some(prefix) = folder.parent()
        {
            prefixes.push(prefix.to_owned());
        }
    }
    if let Some(home) = std::env::var_os("HOME") {
        prefixes.push(PathBuf::from(home).join(".local"));
    }
    let mut all: Vec<PathBuf> = Vec::new();
    for prefix in prefixes {
        for python in entries(&prefix.join("lib")) {
            let is_python = python
                .file_name()
                .is_some_and(|name| name.to_str().is_some_and(|name| name.starts_with("python3")));
            if !is_python {
                continue;
            }
            for packages in ["site-packages", "dist-packages"] {
                for folder in entries(&python.join(packages).join("nvidia")) {
                    if !all.contains(&folder) {
                        all.push(folder);
                    }
                }
            }
        }
    }
    all
}

/// What a folder holds, in order of names; nothing, if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn the_newest_version_comes_first_and_other_names_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "libnvrtc.so.12",
            "libnvrtc.so.13",
            "libnvrtc.so.12.9.1",
            "libnvrtc.so",
            "libnvrtc.alt.so.13",
            "libnvrtc-builtins.so.13.0",
            "libnvrtc.so.bak",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<String> = libraries_beside(folder.path(), "libnvrtc.so")
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            names,
            ["libnvrtc.so.13", "libnvrtc.so.12.9.1", "libnvrtc.so.12", "libnvrtc.so"]
        );
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_libraries() {
        assert!(libraries_beside(Path::new("/nowhere/at/all"), "libnvrtc.so").is_empty());
    }
}
