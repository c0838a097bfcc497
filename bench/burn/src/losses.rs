//! Errors of workers, who leads, local losses and the global loss.

use anyhow::{Result, bail};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

/// The mean cross-entropy of logits `[batch, classes]`.
pub(crate) fn global(logits: Tensor<2>, labels: &Tensor<1, Int>) -> Tensor<1> {
    log_softmax(logits, 1).gather(1, labels.clone().unsqueeze_dim(1)).mean().neg()
}

/// A unit's local loss: the errors of the leaders, and λ times the followers' mean squared distance from the best
/// worker's output. Logits are `[workers, batch, classes]`.
pub(crate) fn local(
    logits: Tensor<3>,
    labels: &Tensor<1, Int>,
    leaders: usize,
    lambda: f32,
) -> Result<Tensor<1>> {
    let [workers, batch, _] = logits.dims();
    let logarithms = log_softmax(logits, 2);
    let labels: Tensor<3, Int> = labels.clone().reshape([1, batch, 1]).expand([workers, batch, 1]);
    // [workers, 1, 1]
    let errors = logarithms.clone().gather(2, labels).mean_dim(1).neg();
    if leaders == workers {
        return Ok(errors.sum());
    }
    let order = ordered(&errors.clone().detach().into_data().try_to_vec()?)?;
    let mut leads = vec![0.0f32; workers];
    for &leader in &order[..leaders] {
        leads[leader] = 1.0;
    }
    let leads = TensorData::new(leads, [workers, 1, 1]);
    let leads = Tensor::<3>::from_data(leads, &errors.device());
    let follows = (leads.clone().neg() + 1.0) * lambda;
    let outputs = logarithms.exp();
    let best = outputs.clone().detach().narrow(0, order[0], 1);
    let distances = (outputs - best).square().mean_dims(&[1, 2]);
    Ok((errors * leads + distances * follows).sum())
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
