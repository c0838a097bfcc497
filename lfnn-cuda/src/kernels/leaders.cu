// The choice of leaders, what the followers align with, and the mask of a gradient: the kernels.

extern "C" __global__ void __launch_bounds__(256)
    select_leaders(const float* __restrict__ losses, float* __restrict__ leaders, u32* __restrict__ best,
                   u32 classifiers, u32 workers, u32 count) {
    select_leaders_of(losses, leaders, best, classifiers, workers, count);
}

extern "C" __global__ void __launch_bounds__(256)
    epoch_leaders(const float* __restrict__ losses, const u32* __restrict__ counter, float* epoch_losses,
                  float* __restrict__ leaders, u32* __restrict__ best, u32 workers, u32 count) {
    epoch_leaders_of(losses, counter, epoch_losses, leaders, best, workers, count);
}

extern "C" __global__ void __launch_bounds__(256)
    alignment_target(const act_t* __restrict__ value, const float* __restrict__ leaders, const u32* __restrict__ best,
                     const u32* __restrict__ counter, act_t* __restrict__ reference, Target t) {
    alignment_target_of(value, leaders, best, counter, reference, t);
}

// y = x where the channel's worker leads, else 0: x [rows, per_row, channels], leaders [1 or rows, workers].
extern "C" __global__ void __launch_bounds__(256)
    mask_followers(const act_t* __restrict__ x, const float* __restrict__ leaders, act_t* __restrict__ y, u32 n,
                   u32 row_size,
                   u32 channels, u32 workers, u32 leader_rows) {
    u32 owned = channels / workers;
    map(n, y, [=](u32 i, float x) {
        u32 row = leader_rows == 1 ? 0 : i / row_size;
        return leaders[row * workers + i % channels / owned] != 0.0f ? x : 0.0f;
    }, x);
}
