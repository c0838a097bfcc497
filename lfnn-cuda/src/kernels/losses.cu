// Errors of workers, the local losses and their gradient: the kernels. What they do is in losses.cuh.

extern "C" __global__ void __launch_bounds__(256)
    worker_errors(const real* __restrict__ z, const u32* __restrict__ labels, const float* __restrict__ values,
                  real* __restrict__ output, float* __restrict__ errors, Heads h) {
    worker_errors_of(z, labels, values, output, errors, h);
}

extern "C" __global__ void __launch_bounds__(256)
    mean_errors(const float* __restrict__ errors, float* mean, u32* fault, u32 batch, u32 predictors) {
    mean_errors_of(errors, mean, fault, batch, predictors, Threads::launched());
}

extern "C" __global__ void __launch_bounds__(256)
    local_gradient(const real* __restrict__ z, const real* __restrict__ output, const u32* __restrict__ labels,
                   const float* __restrict__ values, const float* __restrict__ leaders,
                   const real* __restrict__ reference, real* __restrict__ dz, Scaling scaling, Gradient g) {
    local_gradient_of(z, output, labels, values, leaders, reference, dz, scaling, g);
}

// Registers are saved around the subroutine that divides double numbers, once in a row: not in a loop over data.
// spills: local_losses
extern "C" __global__ void __launch_bounds__(256)
    local_losses(const float* __restrict__ errors, const real* __restrict__ value, const float* __restrict__ leaders,
                 const real* __restrict__ reference, double* __restrict__ parts, float* __restrict__ losses, Losses l) {
    local_losses_of(errors, value, leaders, reference, parts, losses, l);
}

extern "C" __global__ void __launch_bounds__(256) watch_errors(const float* mean, u32* fault, u32 predictors) {
    watch(mean, fault, predictors);
}

// The losses from the parts. One block.
extern "C" __global__ void __launch_bounds__(256)
    join_local_losses(const double* __restrict__ parts, float* __restrict__ losses, u32 blocks, u32 batch) {
    double leader = 0.0, follower = 0.0;
    for (u32 i = threadIdx.x; i < blocks; i += blockDim.x) {
        leader += parts[i * 2];
        follower += parts[i * 2 + 1];
    }
    join_losses(leader, follower);
    if (threadIdx.x == 0) {
        losses[0] = (float)(leader / (double)batch);
        losses[1] = (float)(follower / (double)batch);
    }
}
