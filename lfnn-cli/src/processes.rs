//! Launchers that start a program many times at once, such as `mpirun`.

use std::env;

use anyhow::anyhow;

use crate::failure::Failure;

/// Where launchers say how many processes they have started: Open MPI, MPICH and Intel MPI, MVAPICH2, Slurm's `srun`.
const COUNTS: [&str; 4] =
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"];

/// Refuses to train as one of several processes: each would train the same run.
///
/// # Errors
/// A launcher has started several.
pub(crate) fn check_single() -> Result<(), Failure> {
    for name in COUNTS {
        let count = env::var(name).ok().and_then(|count| count.parse::<u64>().ok());
        if let Some(count) = count.filter(|&count| count > 1) {
            return Err(Failure::Usage(anyhow!(
                "a launcher started {count} processes ({name}={count}), but training uses one process; start \
                 lfnn-cli without the launcher, or with a count of 1"
            )));
        }
    }
    Ok(())
}
