//! The CPU backend and the CUDA backend against the reference, operation by operation.
//!
//! Every operation has a property over random shapes and settings: a program of the one operation is
//! run on both backends, and all tensors are compared, those that it must not touch too. Results
//! start as NaN, so an element that is not written shows. Each property states its tolerance and
//! where it comes from; inputs are of the size of 1 unless said otherwise.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod conv;
mod data;
mod elementwise;
mod emulated;
mod factors;
mod larger;
mod leaders;
mod linear;
mod losses;
mod metrics;
mod normalization;
mod optimize;
mod perturb;
mod pool;
mod shape;
mod unit;
mod window;
mod workers;

use lfnn_core::program::Op;

/// The property of each operation. A new operation does not compile until it is listed here.
fn property_of(op: &Op) -> fn() {
    match op {
        Op::LoadImages(_) => data::images_are_gathered_and_changed_as_drawn,
        Op::LoadLabels(_) => data::labels_are_gathered,
        Op::LoadValues(_) => data::values_are_gathered,
        Op::AdvanceClock(_) => data::the_clock_advances,
        Op::Linear(_) => linear::linear_agrees,
        Op::LinearInputGrad(_) => linear::linear_input_grad_agrees,
        Op::LinearWeightGrad(_) => linear::linear_weight_grad_agrees,
        Op::Conv2d(_) => conv::convolution_agrees,
        Op::Conv2dInputGrad(_) => conv::convolution_input_grad_agrees,
        Op::Conv2dWeightGrad(_) => conv::convolution_weight_grad_agrees,
        Op::AddBias(_) => elementwise::adding_a_bias_agrees,
        Op::BiasGrad(_) => elementwise::bias_grad_agrees,
        Op::Activate(_) => elementwise::activations_agree,
        Op::ActivateGrad(_) => elementwise::activation_grads_agree,
        Op::Dropout(_) => elementwise::dropout_drops_the_same_elements,
        Op::Add(_) => elementwise::sums_agree,
        Op::Softmax(_) => workers::softmax_agrees,
        Op::SoftmaxGrad(_) => workers::softmax_grad_agrees,
        Op::MaxPool(_) => pool::max_pool_agrees_also_on_ties,
        Op::MaxPoolGrad(_) => pool::max_pool_grad_agrees,
        Op::MaxPoolTangent(_) => pool::max_pool_tangent_agrees,
        Op::AvgPool(_) => pool::average_pool_agrees,
        Op::AvgPoolGrad(_) => pool::average_pool_grad_agrees,
        Op::AdaptiveAvgPool(_) => pool::adaptive_pool_agrees,
        Op::AdaptiveAvgPoolGrad(_) => pool::adaptive_pool_grad_agrees,
        Op::BatchNorm(_) => normalization::batch_norm_agrees,
        Op::BatchNormInference(_) => normalization::batch_norm_inference_agrees,
        Op::BatchNormGrad(_) => normalization::batch_norm_grad_agrees,
        Op::BatchNormTangent(_) => normalization::batch_norm_tangent_agrees,
        Op::Flatten(_) => shape::flatten_agrees,
        Op::Unflatten(_) => shape::unflatten_agrees,
        Op::Concat(_) => shape::concat_agrees,
        Op::Split(_) => shape::split_agrees,
        Op::FilterLogits(_) => workers::filter_logits_agree,
        Op::FilterLogitsGrad(_) => workers::filter_logits_grad_agrees,
        Op::WorkerLoss(_) => losses::worker_losses_agree,
        Op::MeanWorkerLoss(_) => losses::mean_losses_agree_and_keep_the_first_that_is_not_finite,
        Op::SelectLeaders(_) => leaders::the_same_workers_lead,
        Op::EpochLeaders(_) => leaders::leaders_of_an_epoch_agree,
        Op::AlignmentTarget(_) => leaders::followers_follow_the_same_leader,
        Op::LossGradient(_) => losses::loss_gradients_agree,
        Op::LocalLossGradient(_) => losses::local_loss_gradients_agree,
        Op::LocalLosses(_) => losses::local_losses_agree,
        Op::MaskFollowers(_) => leaders::followers_are_masked,
        Op::Gaussian(_) => perturb::gaussian_draws_agree,
        Op::InnerProduct(_) => perturb::inner_products_agree,
        Op::AccumulateRows(_) => metrics::rows_with_examples_are_summed,
        Op::CountErrors(_) => metrics::wrong_predictions_are_counted,
        Op::ClipFactor(_) => optimize::clip_factors_agree,
        Op::SgdStep(_) => optimize::sgd_steps_agree,
        Op::AdamStep(_) => optimize::adam_steps_agree,
    }
}

/// That it compiles is the test: the match is exhaustive, and each entry is a function.
#[test]
fn every_operation_has_a_property() {
    let _: fn(&Op) -> fn() = property_of;
}
