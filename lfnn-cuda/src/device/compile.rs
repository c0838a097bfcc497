//! The kernel files that a plan needs, compiled: from the cache where they are in it, several at a time where
//! they are not.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cache::{Cache, Key};
use super::error::CudaError;
use super::nvrtc::{Image, Nvrtc, Target, options};
use crate::kernels;
use crate::plan::KernelSource;

/// How far compilation is: `done` of `total` files that were not in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Files compiled.
    pub done: usize,
    /// Files to compile.
    pub total: usize,
}

/// Compiles these files. `progress` is called before the first and after every one that is not in the cache.
///
/// # Errors
/// The first file that does not compile, in order of `sources`.
pub fn compile(
    nvrtc: &Nvrtc,
    sources: &[KernelSource],
    target: Target,
    cache: &Cache,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<Image>, CudaError> {
    let compiler = nvrtc.found().version;
    let mut images: Vec<Option<Image>> = Vec::with_capacity(sources.len());
    let mut missing = Vec::new();
    for (index, &source) in sources.iter().enumerate() {
        let file = source.file.0;
        let text = kernels::text(source).ok_or(CudaError::NoKernelFile { file })?;
        let options = options(source.act)?;
        let found = cache.get(&Key { source: &text, options: &options, target, compiler });
        images.push(found.map(|bytes| Image { bytes, log: String::new() }));
        if images[index].is_none() {
            missing.push((index, source, text, options));
        }
    }
    let total = missing.len();
    if total > 0 {
        progress(Progress { done: 0, total });
    }
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<Vec<(usize, Result<Image, CudaError>)>> = Mutex::new(Vec::new());
    let work = || {
        while let Some((index, source, text, options)) =
            missing.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let image = nvrtc.compile(&source.to_string(), text, target, options);
            if let Ok(image) = &image {
                cache.put(&Key { source: text, options, target, compiler }, &image.bytes);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).push((*index, image));
            progress(Progress { done: done.fetch_add(1, Ordering::Relaxed) + 1, total });
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(total);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    for (index, image) in results {
        images[index] = Some(image?);
    }
    Ok(images.into_iter().flatten().collect())
}
