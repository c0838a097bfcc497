// Normal variates and inner products: what forward gradients are made of.

// Two standard normal variates from two words (Box-Muller).
__device__ __forceinline__ void normal_pair(u32 a, u32 b, float& first, float& second) {
    // 1 - u is exact, and in (0, 1].
    float radius = sqrtf(-2.0f * logf((float)((1u << 24) - (a >> 8)) * (1.0f / (1 << 24))));
    float sine, cosine;
    sincospif((float)(b >> 8) * (2.0f / (1 << 24)), &sine, &cosine);
    first = radius * cosine;
    second = radius * sine;
}

// y = a normal variate times the factor of its part: run q of `run` elements belongs to part
// q / (repeat groups) groups + q % groups. A thread has the four elements of a block of words.
extern "C" __global__ void __launch_bounds__(256)
    gaussian(const u32* __restrict__ counter, const float* __restrict__ factor, act_t* __restrict__ y, u32 n, u32 groups, u32 run,
             u32 repeat, u32 stream) {
    u32 step = counter[COUNTER_STEP];
    GRID_STRIDE(block, (n + 3) / 4) {
        uint4 words = random_block(counter, stream, step, block);
        float drawn[4];
        normal_pair(words.x, words.y, drawn[0], drawn[1]);
        normal_pair(words.z, words.w, drawn[2], drawn[3]);
        UNROLL(k, 4) {
            u32 i = block * 4 + k;
            if (i >= n) continue;
            u32 q = i / run;
            y[i] = to_act(factor ? drawn[k] * factor[q / (repeat * groups) * groups + q % groups] : drawn[k]);
        }
    }
}

// The sum of a b over each part (see `gaussian`), or the share of it that falls to each of several blocks: parts
// [blocks, count].
extern "C" __global__ void __launch_bounds__(256)
    inner_product(const act_t* __restrict__ a, const act_t* __restrict__ b, float* __restrict__ y, double* __restrict__ parts,
                  u32 count, u32 groups, u32 run, u32 repeat) {
    __shared__ double space[32];
    for (u32 part = blockIdx.y; part < count; part += gridDim.y) {
        u32 first = (part / groups * repeat * groups + part % groups) * run;
        double sum = 0.0;
#pragma unroll 4
        for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < run * repeat; i += gridDim.x * blockDim.x) {
            u32 at = first + i / run * groups * run + i % run;
            sum += (double)to_float(a[at]) * (double)to_float(b[at]);
        }
        sum = block_sum(sum, space);
        if (threadIdx.x != 0) continue;
        if (gridDim.x == 1) {
            y[part] = (float)sum;
        } else {
            parts[blockIdx.x * count + part] = sum;
        }
    }
}

// The sums of the parts.
extern "C" __global__ void __launch_bounds__(256)
    reduce_products(const double* __restrict__ parts, float* __restrict__ y, u32 blocks, u32 count) {
    GRID_STRIDE(part, count) {
        double sum = 0.0;
        for (u32 block = 0; block < blocks; ++block) sum += parts[block * count + part];
        y[part] = (float)sum;
    }
}
