//! Compiles every kernel file for every GPU that lfnn knows, without a GPU, and prints what each kernel takes.
//!
//! A kernel whose registers spill fails the check, unless its file says so in a line `// spills: KERNEL`. NVRTC is
//! found as the backend finds it; `scripts/check-kernels` installs one of a known version.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use lfnn_cuda::CudaError;
use lfnn_cuda::device::{Nvrtc, Target, USAGE_OPTION, Usage, options, usage};
use lfnn_cuda::kernels::{files, text};
use lfnn_cuda::plan::{Element, KernelSource};

/// Compute capabilities, times ten: Turing, Ampere, Hopper, Blackwell in servers and in workstations.
const GPUS: [u32; 5] = [75, 80, 90, 100, 120];

/// Whether lfnn runs such a file on such a GPU: bfloat16 begins with Ampere.
fn allowed(act: Element, gpu: u32) -> bool {
    act != Element::Bf16 || gpu >= 80
}

fn compile(nvrtc: &Nvrtc, source: KernelSource, gpu: u32) -> Result<Vec<Usage>, CudaError> {
    let mut options = options(source.act)?;
    options.push(USAGE_OPTION.into());
    let image = nvrtc.compile(
        &source.to_string(),
        &text(source).unwrap_or_default(),
        Target::Device(gpu),
        &options,
    )?;
    Ok(usage(&image.log))
}

/// A file with a type: for each kernel, what it takes on each GPU.
type Table = BTreeMap<(KernelSource, String), BTreeMap<u32, Usage>>;

fn main() -> ExitCode {
    let nvrtc = match Nvrtc::find(None) {
        Ok(nvrtc) => nvrtc,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("NVRTC {}, {}", nvrtc.found().version, nvrtc.found().path.display());
    let types = [Element::F32, Element::Bf16, Element::F16];
    let jobs: Vec<(KernelSource, u32)> = files()
        .flat_map(|file| types.map(|act| KernelSource { file, act }))
        .flat_map(|source| GPUS.map(|gpu| (source, gpu)))
        .filter(|(source, gpu)| allowed(source.act, *gpu))
        .collect();
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Table::new(), Vec::new()));
    let work = || {
        while let Some(&(source, gpu)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = compile(&nvrtc, source, gpu);
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(kernels) if kernels.is_empty() => {
                    results.1.push(format!("{source}: no kernels for sm_{gpu}"));
                }
                Ok(kernels) => {
                    for usage in kernels {
                        let key = (source, usage.kernel.clone());
                        results.0.entry(key).or_default().insert(gpu, usage);
                    }
                }
                Err(error) => results.1.push(error.to_string()),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (table, mut faults) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    print(&table);
    faults.extend(spills(&table));
    for fault in &faults {
        eprintln!("error: {fault}");
    }
    let kernels = table.values().map(BTreeMap::len).sum::<usize>();
    println!("{kernels} kernels compiled from {} files, {} faults", files().count(), faults.len());
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(table: &Table) {
    println!("\nregisters and bytes of static shared memory");
    print!("{:<44}", "");
    for gpu in GPUS {
        print!("{:>11}", format!("sm_{gpu}"));
    }
    println!();
    for ((source, kernel), usages) in table {
        print!("{:<44}", format!("{} {:?} {kernel}", source.file.0, source.act));
        for gpu in GPUS {
            let cell = usages.get(&gpu).map_or_else(
                || "–".to_owned(),
                |usage| format!("{} {:>6}", usage.registers, usage.shared),
            );
            print!("{cell:>11}");
        }
        println!();
    }
    println!();
}

fn spills(table: &Table) -> Vec<String> {
    let declared = |source: KernelSource, kernel: &str| {
        let line = format!("// spills: {kernel}");
        text(source).is_some_and(|text| text.lines().any(|found| found.trim() == line))
    };
    let mut all = Vec::new();
    for ((source, kernel), usages) in table {
        for (gpu, usage) in usages {
            if usage.spilled > 0 && !declared(*source, kernel) {
                all.push(format!(
                    "{source}, kernel {kernel}, sm_{gpu}: {} bytes spill, and the file does not declare it",
                    usage.spilled
                ));
            }
        }
    }
    all
}
