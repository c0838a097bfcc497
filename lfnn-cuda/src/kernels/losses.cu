// Losses of workers, the losses that are minimised and their gradients: the kernels. What they do is in losses.cuh.

extern "C" __global__ void __launch_bounds__(256)
    worker_loss(const act_t* __restrict__ z, const u32* __restrict__ labels, const float* __restrict__ values,
                act_t* __restrict__ output, float* __restrict__ losses, Predictions h) {
    worker_loss_of(z, labels, values, output, losses, h);
}

extern "C" __global__ void __launch_bounds__(256)
    mean_worker_loss(const float* __restrict__ losses, float* mean, u32* nonfinite, u32 batch, u32 predictors) {
    mean_worker_loss_of(losses, mean, nonfinite, batch, predictors, Threads::launched());
}

extern "C" __global__ void __launch_bounds__(256)
    loss_gradient(const act_t* __restrict__ z, const act_t* __restrict__ output, const u32* __restrict__ labels,
                  const float* __restrict__ values, act_t* __restrict__ dz, Scaling scaling, Predictions h,
                  float weight) {
    loss_gradient_of(z, output, labels, values, dz, scaling, h, weight);
}

// A register is saved around the subroutine that divides a weight by the number of leaders, on sm_80.
// spills: local_loss_gradient
extern "C" __global__ void __launch_bounds__(256)
    local_loss_gradient(const act_t* __restrict__ z, const act_t* __restrict__ output, const u32* __restrict__ labels,
                        const float* __restrict__ values, const float* __restrict__ leaders,
                        const act_t* __restrict__ reference, act_t* __restrict__ dz, Scaling scaling, LocalLoss g) {
    local_loss_gradient_of(z, output, labels, values, leaders, reference, dz, scaling, g);
}

// Registers are saved around the subroutine that divides double numbers, once in a row: not in a loop over data.
// spills: local_losses
extern "C" __global__ void __launch_bounds__(256)
    local_losses(const float* __restrict__ worker_losses, const act_t* __restrict__ value,
                 const float* __restrict__ leaders, const act_t* __restrict__ reference, double* __restrict__ parts,
                 float* __restrict__ losses, Losses l) {
    local_losses_of(worker_losses, value, leaders, reference, parts, losses, l);
}

extern "C" __global__ void __launch_bounds__(256) watch_losses(const float* mean, u32* nonfinite, u32 predictors) {
    watch(mean, nonfinite, predictors);
}

// The losses from the parts. One block.
extern "C" __global__ void __launch_bounds__(256)
    reduce_local_losses(const double* __restrict__ parts, float* __restrict__ losses, u32 blocks, u32 batch) {
    double leader = 0.0, follower = 0.0;
    for (u32 i = threadIdx.x; i < blocks; i += blockDim.x) {
        leader += parts[i * 2];
        follower += parts[i * 2 + 1];
    }
    reduce_losses(leader, follower);
    if (threadIdx.x == 0) {
        losses[0] = (float)(leader / (double)batch);
        losses[1] = (float)(follower / (double)batch);
    }
}
