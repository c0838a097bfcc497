//! A kernel source, compiled as C++ into a library that can be loaded.
//!
//! A library is compiled once and kept, under a name made of its sources and flags.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{fs, io};

use super::error::EmulatorError;
use super::library::Library;
use crate::kernels;
use crate::plan::KernelSource;

const HEADER: &str = include_str!("../../emulator/cuda_emulator.h");

const FLAGS: [&str; 10] = [
    "-std=c++17",
    "-O2",
    "-g1",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-Wall",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
    // Static variables of the header that a kernel file has no use for.
    "-Wno-unused-variable",
];

/// Accesses out of bounds, and misaligned ones, end the process with a report.
const SANITIZE: [&str; 3] =
    ["-fsanitize=address,alignment", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];

/// Whether there is a compiler.
pub fn is_available() -> bool {
    Command::new("g++").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The library of a kernel file, compiled and loaded once in a process; or what the compiler said, once.
pub(super) fn library(
    source: KernelSource,
    sanitized: bool,
) -> Result<Arc<Library>, EmulatorError> {
    type Libraries = Mutex<HashMap<(KernelSource, bool), Result<Arc<Library>, String>>>;
    static LIBRARIES: OnceLock<Libraries> = OnceLock::new();
    let libraries = LIBRARIES.get_or_init(Libraries::default);
    let mut libraries = libraries.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (source, sanitized);
    if let Some(found) = libraries.get(&key) {
        return found.clone().map_err(|log| EmulatorError::Compile { log });
    }
    let made = file(source, sanitized);
    match &made {
        Ok(library) => libraries.insert(key, Ok(library.clone())),
        Err(EmulatorError::Compile { log }) => libraries.insert(key, Err(log.clone())),
        Err(_) => None,
    };
    made
}

/// The library of a file of the crate's kernels.
fn file(source: KernelSource, sanitize: bool) -> Result<Arc<Library>, EmulatorError> {
    let file = source.file.0;
    let text = kernels::text(source).ok_or(EmulatorError::NoKernelFile { file })?;
    source_text(file, &text, sanitize)
}

/// The library of a source.
pub(super) fn source_text(
    name: &str,
    source: &str,
    sanitize: bool,
) -> Result<Arc<Library>, EmulatorError> {
    let text = translation_unit(source, &preprocessed(source)?);
    let mut key = DefaultHasher::new();
    (HEADER, &text, FLAGS, sanitize).hash(&mut key);
    let folder = folder();
    let path = folder.join(format!("{name}-{:016x}.so", key.finish()));
    if !path.exists() {
        compile(&folder, &path, &text, sanitize)?;
    }
    Library::open(&path)
}

/// The header, the source in an unnamed namespace, and the table of its kernels.
fn translation_unit(source: &str, preprocessed: &str) -> String {
    let entries: Vec<String> = kernel_names(preprocessed)
        .iter()
        .map(|name| format!("    LFNN_KERNEL({name}),\n"))
        .collect();
    let count = entries.len();
    format!(
        "#include \"cuda_emulator.h\"\nnamespace {{\n{source}\n}}\n#line 1 \"table\"\n\
         extern \"C\" __attribute__((visibility(\"default\")))\n\
         const emulator::Entry* lfnn_kernels(unsigned* count) {{\n\
         static const emulator::Entry entries[] = {{\n{}    emulator::Entry{{}}}};\n\
         *count = {count};\n return entries;\n}}\n\
         extern \"C\" __attribute__((visibility(\"default\")))\n\
         int lfnn_launch(const emulator::Entry* entry, const unsigned* grid, const unsigned* block,\n\
         unsigned shared, uint64_t seed, void** values, char* said, unsigned size) {{\n\
         return emulator::launch(*entry, grid, block, shared, seed, values, said, size);\n}}\n",
        entries.concat()
    )
}

/// A source without what its own conditions leave out: a file may have other kernels for other types.
fn preprocessed(source: &str) -> Result<String, EmulatorError> {
    let mut child = Command::new("g++")
        .args(["-E", "-P", "-x", "c++", "-DLFNN_EMULATOR=1", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(EmulatorError::NoCompiler)?;
    // The preprocessor reads all of its input before it writes. The pipe closes when it is dropped.
    if let Some(mut input) = child.stdin.take() {
        input.write_all(source.as_bytes()).map_err(EmulatorError::NoCompiler)?;
    }
    let output = child.wait_with_output().map_err(EmulatorError::NoCompiler)?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(EmulatorError::Compile { log });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The names of the `__global__` functions of a source.
fn kernel_names(source: &str) -> Vec<&str> {
    let code = source.lines().map(|line| line.split("//").next().unwrap_or(line));
    let mut names = Vec::new();
    let mut waiting = false;
    for line in code {
        let mut rest = line;
        if let Some(at) = line.find("__global__") {
            waiting = true;
            rest = &line[at + "__global__".len()..];
        }
        // The name is the word before the first parenthesis that is not an attribute's.
        while waiting && let Some(at) = rest.find('(') {
            let before = rest[..at].trim_end();
            let start = before
                .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map_or(0, |space| space + 1);
            let word = &before[start..];
            if word == "__launch_bounds__" {
                rest = rest[at..].find(')').map_or("", |close| &rest[at + close + 1..]);
            } else {
                names.push(word);
                waiting = false;
            }
        }
    }
    names
}

fn compile(folder: &Path, path: &Path, text: &str, sanitize: bool) -> Result<(), EmulatorError> {
    let io = |error: io::Error| EmulatorError::Cache { path: path.to_owned(), error };
    fs::create_dir_all(folder).map_err(io)?;
    // Several processes may compile at once: each in a folder of its own.
    let work = folder.join(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
    fs::create_dir_all(&work).map_err(io)?;
    fs::write(work.join("cuda_emulator.h"), HEADER).map_err(io)?;
    fs::write(work.join("kernels.cpp"), text).map_err(io)?;
    let made = work.join("kernels.so");
    let output = Command::new("g++")
        .args(FLAGS)
        .args(if sanitize { &SANITIZE[..] } else { &[] })
        .arg("-o")
        .arg(&made)
        .arg(work.join("kernels.cpp"))
        .output()
        .map_err(EmulatorError::NoCompiler)?;
    if !output.status.success() {
        return Err(EmulatorError::Compile {
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    fs::rename(&made, path).map_err(io)?;
    fs::remove_dir_all(&work).map_err(io)
}

/// Where libraries are kept: beside the test, which cargo built, or else among temporary files.
fn folder() -> PathBuf {
    let exe = std::env::current_exe().ok();
    let beside = exe.as_deref().and_then(Path::parent).map(Path::to_owned);
    beside.unwrap_or_else(std::env::temp_dir).join("cuda-emulator")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_found_by_their_names() {
        let source = "
            // __global__ void not_this(int n)
            __device__ float helper(float x);
            extern \"C\" __global__ void one(float* x) {}
            extern \"C\" __global__ void __launch_bounds__(256) two(float* x) {}
            extern \"C\" __global__ void __launch_bounds__(256, 2)
                three(const float* x,
                      int n) {}
        ";
        assert_eq!(kernel_names(source), ["one", "two", "three"]);
    }
}
