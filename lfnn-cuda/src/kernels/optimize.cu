// Optimiser steps, each over the parameters of many tensors, and the norm of gradients.

// The tensor of this block, and its elements of it.
struct Chunk {
    u32 tensor, start, end;

    __device__ __forceinline__ Chunk(const Table& table) {
        tensor = 0;
        while (tensor + 1 < table.count && table.block[tensor + 1] <= blockIdx.x) ++tensor;
        start = (blockIdx.x - table.block[tensor]) * CHUNK;
        end = min(start + CHUNK, table.length[tensor]);
    }
};

// The learning rate of this step.
__device__ __forceinline__ float rate_of(const float* rates, u32 count, const u32* counter) {
    return rates[min(counter[COUNTER_STEP], count - 1)];
}

// g = factor * g + decay * w; m = momentum * m + g; w -= rate * (m, or g + momentum * m).
extern "C" __global__ void __launch_bounds__(256)
    sgd(Table table, const float* __restrict__ rates, const u32* __restrict__ counter, const float* __restrict__ factor,
        Scaling scaling, u32 rate_count, float momentum, u32 nesterov, float decay) {
    if (scaling.state && scaling.state->overflow) return;
    Chunk chunk(table);
    float* parameter = table.parameter[chunk.tensor];
    const float* gradient = table.gradient[chunk.tensor];
    float* velocity = table.first[chunk.tensor];
    float rate = rate_of(rates, rate_count, counter), scale = factor ? *factor : 1.0f;
    scale /= scale_of(scaling);
#pragma unroll 4
    for (u32 i = chunk.start + threadIdx.x; i < chunk.end; i += blockDim.x) {
        float w = parameter[i], g = scale * gradient[i] + decay * w;
        if (velocity) {
            float m = momentum * velocity[i] + g;
            velocity[i] = m;
            g = nesterov ? g + momentum * m : m;
        }
        parameter[i] = w - rate * g;
    }
}

// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= rate * corrected m / (sqrt(corrected v) + epsilon).
extern "C" __global__ void __launch_bounds__(256)
    adam(Table table, const float* __restrict__ rates, const u32* __restrict__ counter, const float* __restrict__ factor,
         Scaling scaling, Adam a) {
    __shared__ float keep, step, correction;
    if (scaling.state && scaling.state->overflow) return;
    Chunk chunk(table);
    if (threadIdx.x == 0) {
        double rate = rate_of(rates, a.rate_count, counter), time = (double)counter[COUNTER_TIME] + 1.0;
        keep = a.decoupled ? (float)(1.0 - rate * a.decay) : 1.0f;
        step = (float)(rate / (1.0 - pow(a.first_beta, time)));
        correction = (float)(1.0 / (1.0 - pow(a.second_beta, time)));
    }
    __syncthreads();
    float* parameter = table.parameter[chunk.tensor];
    const float* gradient = table.gradient[chunk.tensor];
    float *first = table.first[chunk.tensor], *second = table.second[chunk.tensor];
    float scale = factor ? *factor : 1.0f;
    scale /= scale_of(scaling);
    float decay = a.decoupled ? 0.0f : (float)a.decay;
    float b1 = (float)a.first_beta, c1 = (float)(1.0 - a.first_beta);
    float b2 = (float)a.second_beta, c2 = (float)(1.0 - a.second_beta);
#pragma unroll 4
    for (u32 i = chunk.start + threadIdx.x; i < chunk.end; i += blockDim.x) {
        float w = parameter[i], g = scale * gradient[i] + decay * w;
        float m = b1 * first[i] + c1 * g, v = b2 * second[i] + c2 * (g * g);
        first[i] = m;
        second[i] = v;
        parameter[i] = w * keep - step * (m / (sqrtf(v * correction) + a.epsilon));
    }
}

// parts[block] = the sum of the squares of a block's elements.
extern "C" __global__ void __launch_bounds__(256) squares(Table table, double* __restrict__ parts) {
    __shared__ double space[32];
    Chunk chunk(table);
    const float* gradient = table.gradient[chunk.tensor];
    double sum = 0.0;
#pragma unroll 4
    for (u32 i = chunk.start + threadIdx.x; i < chunk.end; i += blockDim.x) sum += (double)gradient[i] * (double)gradient[i];
    sum = block_sum(sum, space);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// factor = min(1, max_norm / (norm + 1e-6)), the norm from the sums of squares. One block.
extern "C" __global__ void __launch_bounds__(256)
    clip_factor(const double* __restrict__ parts, float* __restrict__ factor, Scaling scaling, u32 count, float max_norm) {
    __shared__ double space[32];
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
    sum = block_sum(sum, space);
    if (threadIdx.x == 0) {
        double norm = sqrt(sum) / (double)scale_of(scaling);
        double share = (double)max_norm / (norm + 1e-6);
        // NaN stays NaN.
        *factor = share > 1.0 ? 1.0f : (float)share;
    }
}

// Remembers whether any of the gradients is not finite.
extern "C" __global__ void __launch_bounds__(256) watch_overflow(Table table, Scaling scaling) {
    Chunk chunk(table);
    const float* gradient = table.gradient[chunk.tensor];
    bool finite = true;
#pragma unroll 4
    for (u32 i = chunk.start + threadIdx.x; i < chunk.end; i += blockDim.x) finite = finite && isfinite(gradient[i]);
    if (!finite) atomicOr(&scaling.state->overflow, 1u);
}

#define GOOD_STEPS 200
#define LARGEST_LOSS_SCALE 16777216.0f

// The scale of the next step: half of it after an overflow, twice after many steps without, and in each epoch
// from the first one on. One thread.
extern "C" __global__ void __launch_bounds__(32) move_loss_scale(Scaling scaling, const u32* counter, u32 rate_count) {
    LossScale* state = scaling.state;
    float scale = scale_of(scaling);
    u32 good = state->good + 1;
    if (state->overflow) {
        scale *= 0.5f;
        good = 0;
    } else if (good == GOOD_STEPS) {
        scale = fminf(2.0f * scale, LARGEST_LOSS_SCALE);
        good = 0;
    }
    bool last = counter[COUNTER_STEP] + 1 >= rate_count;
    state->scale = last ? scaling.first : scale;
    state->good = last ? 0 : good;
    state->overflow = 0;
}
