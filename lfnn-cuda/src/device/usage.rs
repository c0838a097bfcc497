//! What the assembler says that each kernel takes: registers, shared memory, spills.

/// What one kernel takes of a multiprocessor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The kernel.
    pub kernel: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of static shared memory of a block.
    pub shared: u32,
    /// Bytes of a thread's stack.
    pub stack: u32,
    /// Bytes that a thread stores to memory for want of registers.
    pub spilled: u32,
}

/// The option that has the compiler say so.
pub const OPTION: &str = "--ptxas-options=-v";

/// Reads the log of a compilation with [`OPTION`].
pub fn usage(log: &str) -> Vec<Usage> {
    let mut all: Vec<Usage> = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let kernel = rest.split('\'').next().unwrap_or_default().to_owned();
            all.push(Usage { kernel, ..Usage::default() });
        }
        let Some(last) = all.last_mut() else { continue };
        for part in line.split([',', ':']) {
            let mut words = part
                .split_whitespace()
                .skip_while(|word| *word == "Used" || *word == "." || *word == "ptxas");
            let Some(number) = words.next().and_then(|word| word.parse::<u32>().ok()) else {
                continue;
            };
            match words.collect::<Vec<_>>().as_slice() {
                ["registers"] => last.registers = number,
                ["bytes", "smem"] => last.shared = number,
                ["bytes", "stack", "frame"] => last.stack = number,
                ["bytes", "spill", "stores"] => last.spilled = number,
                _ => {}
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_assemblers_words_are_understood() {
        // As NVRTC 13.0 prints it.
        let log = "\
ptxas info    : 4 bytes gmem
ptxas info    : Compiling entry function 'sum_chunks' for 'sm_90'
ptxas info    : Function properties for sum_chunks
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 17 registers, used 1 barriers, 2048 bytes smem
ptxas info    : Compile time = 39.068 ms
ptxas info    : Compiling entry function 'large' for 'sm_75'
ptxas info    : Function properties for large
ptxas         .     64 bytes stack frame, 60 bytes spill stores, 72 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers, 64 bytes cumulative stack size, 21 bytes smem, 400 bytes cmem[0]";
        let small =
            Usage { kernel: "sum_chunks".into(), registers: 17, shared: 2048, ..Usage::default() };
        let large =
            Usage { kernel: "large".into(), registers: 255, shared: 21, stack: 64, spilled: 60 };
        assert_eq!(usage(log), [small, large]);
    }

    #[test]
    fn a_log_of_nothing_has_no_kernels() {
        assert_eq!(usage(""), []);
    }
}
