//! Errors of workers, who leads, and local losses.

use anyhow::{Result, bail};
use candle_core::{D, Device, Tensor};
use candle_nn::ops::log_softmax;

/// A unit's local loss: the errors of the leaders, and λ times the followers' mean squared distance from the best
/// worker's output. Logits are `[workers, batch, classes]`.
pub(crate) fn local(
    logits: &Tensor,
    target: &Tensor,
    leaders: usize,
    lambda: f64,
) -> Result<Tensor> {
    let (workers, batch, _) = logits.dims3()?;
    let logarithms = log_softmax(logits, D::Minus1)?;
    let labels = target.reshape((1, batch, 1))?.broadcast_as((workers, batch, 1))?.contiguous()?;
    let errors = logarithms.gather(&labels, 2)?.flatten_from(1)?.mean(1)?.neg()?;
    if leaders == workers {
        return Ok(errors.sum_all()?);
    }
    let order = ordered(&errors.detach().to_vec1()?)?;
    let mut leads = vec![0.0f32; workers];
    for &leader in &order[..leaders] {
        leads[leader] = 1.0;
    }
    let leads = Tensor::from_vec(leads, workers, &Device::Cpu)?;
    let follows = leads.affine(-lambda, lambda)?;
    let outputs = logarithms.exp()?;
    let best = outputs.detach().narrow(0, order[0], 1)?;
    let distances = outputs.broadcast_sub(&best)?.sqr()?.flatten_from(1)?.mean(1)?;
    Ok(((errors * leads)?.sum_all()? + (distances * follows)?.sum_all()?)?)
}

/// Workers in order of their losses; ties go to the smaller index.
fn ordered(errors: &[f32]) -> Result<Vec<usize>> {
    if let Some(worker) = errors.iter().position(|error| !error.is_finite()) {
        bail!("the loss of worker {worker} is not finite");
    }
    let mut order: Vec<usize> = (0..errors.len()).collect();
    order.sort_by(|&a, &b| errors[a].total_cmp(&errors[b]));
    Ok(order)
}
