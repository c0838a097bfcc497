// What a GPU does at best: arithmetic alone, and memory alone.

// Each thread does rounds * STEPS * CHAINS multiplications and additions, of which CHAINS do not wait for one another.
extern "C" __global__ void __launch_bounds__(256) multiply_and_add(float* __restrict__ out, u32 rounds, float factor) {
    float sums[CHAINS];
    UNROLL(k, CHAINS) sums[k] = (float)(threadIdx.x + k);
    for (u32 round = 0; round < rounds; ++round) {
        UNROLL(step, STEPS) UNROLL(k, CHAINS) sums[k] = fmaf(sums[k], factor, 1.0f);
    }
    float sum = 0.0f;
    UNROLL(k, CHAINS) sum += sums[k];
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(256) copy(const uint4* __restrict__ from, uint4* __restrict__ to, u32 n) {
    GRID_STRIDE(i, n) { to[i] = from[i]; }
}
