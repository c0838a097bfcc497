//! The same properties on the CUDA backend: its kernels, compiled for the CPU, on the emulator.
//!
//! Emulation is slow: a property draws one case in sixteen, and the larger shapes are left to devices.

use lfnn_tests::under_test::on_emulator;

/// One case in this many.
const SHARE: u32 = 16;

macro_rules! emulated {
    ($($module:ident: $($test:ident),*;)*) => {$(
        mod $module {
            $(#[test]
            fn $test() {
                super::on_emulator(super::SHARE, crate::$module::$test);
            })*
        }
    )*};
}

emulated! {
    data: images_are_gathered_and_changed_as_drawn, labels_are_gathered, values_are_gathered, the_clock_advances;
    elementwise: adding_a_bias_agrees, bias_grad_agrees, activations_agree, activation_grads_agree, dropout_drops_the_same_elements, sums_agree;
    workers: softmax_agrees, softmax_grad_agrees, filter_logits_agree, filter_logits_grad_agrees;
    perturb: gaussian_draws_agree, inner_products_agree;
    pool: max_pool_agrees_also_on_ties, max_pool_grad_agrees, max_pool_tangent_agrees, average_pool_agrees, average_pool_grad_agrees, adaptive_pool_agrees, adaptive_pool_grad_agrees;
    normalization: batch_norm_agrees, batch_norm_inference_agrees, batch_norm_grad_agrees, batch_norm_tangent_agrees, a_nan_passes_through_normalisation_and_relu;
    shape: flatten_agrees, unflatten_agrees, concat_agrees, split_agrees;
    losses: worker_errors_agree, mean_errors_agree_and_keep_the_first_fault, local_gradients_agree, local_losses_agree;
    leaders: the_same_workers_lead, leaders_of_an_epoch_agree, followers_follow_the_same_leader, followers_are_masked;
    metrics: rows_with_examples_are_summed, wrong_predictions_are_counted;
    optimize: clip_factors_agree, sgd_steps_agree, adam_steps_agree;
}
