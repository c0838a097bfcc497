//! What a step adds up on the device, read by the host.

use crate::backend::{Executable, TensorData, TensorDataMut};
use crate::network::OutputState;
use crate::program::TensorId;
use crate::unit::UnitState;

/// Training metrics since the epoch began.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingMetrics {
    /// Batches counted.
    pub batches: usize,
    /// Examples counted.
    pub examples: usize,
    /// Mean global loss.
    pub loss: f64,
    /// Share of wrong predictions, in percent; none in regression.
    pub error: Option<f64>,
    /// For each hidden unit, where workers learn.
    pub units: Vec<UnitMetrics>,
}

/// Training metrics of a hidden unit.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitMetrics {
    /// Mean leader loss `L^δ`; where all workers learn from the labels, that of them all.
    pub leader_loss: f64,
    /// Mean follower loss `L^δ̄`; 0 without followers.
    pub follower_loss: f64,
    /// Mean loss `e_n` of each worker (of each classifier).
    pub worker_losses: Vec<f64>,
    /// Share of wrong predictions of each worker, in percent; 0 in regression.
    pub worker_errors: Vec<f64>,
    /// How often each worker was a leader: batches, or examples when leaders are chosen per sample. Empty
    /// where the method chooses none.
    pub lead_counts: Vec<u64>,
}

/// Reads a persistent real tensor.
pub(super) fn read<E: Executable>(
    executable: &E,
    tensor: TensorId,
    len: usize,
) -> Result<Vec<f32>, E::Error> {
    let mut data = vec![0.0; len];
    executable.download(tensor, TensorDataMut::Real(&mut data))?;
    Ok(data)
}

/// Reads sums, each multiplied by a factor: means.
pub(super) fn read_means<E: Executable>(
    executable: &E,
    tensor: TensorId,
    len: usize,
    factor: f64,
) -> Result<Vec<f64>, E::Error> {
    let sums = read(executable, tensor, len)?;
    Ok(sums.into_iter().map(|sum| f64::from(sum) * factor).collect())
}

/// Reads a persistent tensor of one whole number.
pub(super) fn read_u32<E: Executable>(executable: &E, tensor: TensorId) -> Result<u32, E::Error> {
    let mut data = [0];
    executable.download(tensor, TensorDataMut::U32(&mut data))?;
    Ok(data[0])
}

/// Sets persistent real tensors to zero.
pub(super) fn clear<E: Executable>(
    executable: &mut E,
    tensors: &[(TensorId, usize)],
) -> Result<(), E::Error> {
    for &(tensor, len) in tensors {
        executable.upload(tensor, TensorData::Real(&vec![0.0; len]))?;
    }
    Ok(())
}

/// The sums of an epoch, with their lengths.
pub(super) fn sums(
    units: &[UnitState],
    output: &OutputState,
    classifiers: usize,
) -> Vec<(TensorId, usize)> {
    let mut all = vec![(output.loss, classifiers), (output.wrong, 1)];
    for unit in units {
        let n = unit.predictions.predictors();
        all.extend([
            (unit.losses, n),
            (unit.wrong, n),
            (unit.lead_counts, n),
            (unit.local_losses, 2),
        ]);
    }
    all
}

/// How the losses of a unit are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum UnitLoss {
    /// Of leaders and of followers; the step adds them up.
    LeadersAndFollowers,
    /// That of all workers, each with this weight.
    OfAll(f64),
}

/// Reads the metrics of a unit over `batches` batches of `examples` examples.
pub(super) fn read_unit<E: Executable>(
    executable: &E,
    unit: &UnitState,
    (batches, examples): (usize, usize),
    loss: UnitLoss,
) -> Result<UnitMetrics, E::Error> {
    let predictors = unit.predictions.predictors();
    let per = |count: usize| 1.0 / count.max(1) as f64;
    let means = |tensor, len, factor| read_means(executable, tensor, len, factor);
    let worker_losses = means(unit.losses, predictors, per(examples))?;
    let worker_errors = means(unit.wrong, predictors, 100.0 * per(examples))?;
    let (leader_loss, follower_loss, lead_counts) = match loss {
        UnitLoss::LeadersAndFollowers => {
            let losses = means(unit.local_losses, 2, per(batches))?;
            let lead_counts = read(executable, unit.lead_counts, predictors)?;
            (losses[0], losses[1], lead_counts.into_iter().map(|n| n as u64).collect())
        }
        UnitLoss::OfAll(weight) => (weight * worker_losses.iter().sum::<f64>(), 0.0, Vec::new()),
    };
    Ok(UnitMetrics { leader_loss, follower_loss, worker_losses, worker_errors, lead_counts })
}
