// Softmax of every worker, and the logits of filter workers.

// Softmax over each run of `width` elements. `lanes` lanes, a power of two, share a run.
extern "C" __global__ void __launch_bounds__(256)
    softmax(const act_t* __restrict__ x, act_t* __restrict__ y, u32 runs, u32 width, u32 lanes) {
    u32 lane = threadIdx.x % lanes, groups = blockDim.x / lanes;
    // Whole warps go on together, because their lanes exchange values.
    for (u32 first = blockIdx.x * groups; first < runs; first += gridDim.x * groups) {
        u32 run = first + threadIdx.x / lanes;
        bool inside = run < runs;
        u32 at = run * width;
        float largest = -POSITIVE_INFINITY;
        for (u32 k = lane; inside && k < width; k += lanes) largest = fmaxf(largest, to_float(x[at + k]));
        largest = reduce_lanes(largest, lanes, Largest());
        float sum = 0.0f;
        for (u32 k = lane; inside && k < width; k += lanes) sum += expf(to_float(x[at + k]) - largest);
        float share = 1.0f / reduce_lanes(sum, lanes, Plus());
        for (u32 k = lane; inside && k < width; k += lanes) {
            y[at + k] = to_act(expf(to_float(x[at + k]) - largest) * share);
        }
    }
}

// dx = y (dy - sum of y dy) in each run.
extern "C" __global__ void __launch_bounds__(256)
    softmax_grad(const act_t* __restrict__ y, const act_t* __restrict__ dy, act_t* __restrict__ dx, u32 runs, u32 width,
                 u32 lanes) {
    u32 lane = threadIdx.x % lanes, groups = blockDim.x / lanes;
    for (u32 first = blockIdx.x * groups; first < runs; first += gridDim.x * groups) {
        u32 run = first + threadIdx.x / lanes;
        bool inside = run < runs;
        u32 at = run * width;
        float sum = 0.0f;
        for (u32 k = lane; inside && k < width; k += lanes) sum += to_float(y[at + k]) * to_float(dy[at + k]);
        sum = reduce_lanes(sum, lanes, Plus());
        for (u32 k = lane; inside && k < width; k += lanes) {
            dx[at + k] = to_act(to_float(y[at + k]) * (to_float(dy[at + k]) - sum));
        }
    }
}

// The logit that a channel speaks for.
__device__ __forceinline__ u32 logit_of(const Filters& f, u32 channel) {
    u32 owned = f.channels / f.workers;
    return channel / owned * f.width + channel % owned % f.width;
}

// z[b, logit] = factor * the sum over space and the logit's channels. A block has an image; its dynamic shared
// memory has room for a sum of every channel.
extern "C" __global__ void __launch_bounds__(256) filter_logits(const act_t* __restrict__ x, act_t* __restrict__ z, Filters f) {
    DYNAMIC_SHARED(float, sums);
    __shared__ float space[256];
    const act_t* image = x + blockIdx.x * f.pixels * f.channels;
    for (u32 first = 0; first < f.channels; first += blockDim.x) {
        u32 channel = first + threadIdx.x;
        float sum = 0.0f;
        if (channel < f.channels) {
#pragma unroll 4
            for (u32 pixel = threadIdx.y; pixel < f.pixels; pixel += blockDim.y) {
                sum += to_float(image[pixel * f.channels + channel]);
            }
        }
        sum = sum_over_y(sum, space);
        if (channel < f.channels && threadIdx.y == 0) sums[channel] = sum;
    }
    __syncthreads();
    u32 logits = f.workers * f.width, owned = f.channels / f.workers;
    for (u32 logit = threadIdx.y * blockDim.x + threadIdx.x; logit < logits; logit += blockDim.x * blockDim.y) {
        float sum = 0.0f;
        for (u32 j = logit % f.width; j < owned; j += f.width) sum += sums[logit / f.width * owned + j];
        z[blockIdx.x * logits + logit] = to_act(sum * f.factor);
    }
}

// dx[b, pixel, channel] = factor * dz[b, logit of the channel].
extern "C" __global__ void __launch_bounds__(256)
    filter_logits_grad(const act_t* __restrict__ dz, act_t* __restrict__ dx, Filters f) {
    u32 size = f.pixels * f.channels, logits = f.workers * f.width;
    GRID_STRIDE(i, f.batch * size) {
        dx[i] = to_act(f.factor * to_float(dz[i / size * logits + logit_of(f, i % f.channels)]));
    }
}
