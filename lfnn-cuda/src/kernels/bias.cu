// A bias for every channel, and the gradients of a bias and of a factor.

template <u32 V>
__device__ __forceinline__ void bias_rows(const act_t* x, const float* bias, act_t* y, const ChannelGrid& grid) {
    u32 channel = channel_of(grid);
    if (channel >= grid.channels) return;
    float add[V];
    UNROLL(k, V) add[k] = bias[channel + k];
    for (u32 row = first_row(grid); row < end_row(grid); row += blockDim.y) {
        u32 at = row * grid.channels + channel;
        float values[V];
        load<V>(x + at, values);
        UNROLL(k, V) values[k] += add[k];
        store<V>(y + at, values);
    }
}

// y[row, c] = x[row, c] + bias[c].
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS)
    add_bias(const act_t* __restrict__ x, const float* __restrict__ bias, act_t* __restrict__ y, ChannelGrid grid) {
    BY_VECTOR(grid, bias_rows<V>(x, bias, y, grid));
}

template <u32 V>
__device__ __forceinline__ void sum_chunk(const act_t* x, const act_t* factor, float* sums, const ChannelGrid& grid) {
    __shared__ float space[CHANNEL_THREADS];
    u32 channel = channel_of(grid);
    bool inside = channel < grid.channels;
    float total[V];
    UNROLL(k, V) total[k] = 0.0f;
    if (inside) {
#pragma unroll 4
        for (u32 row = first_row(grid); row < end_row(grid); row += blockDim.y) {
            u32 at = row * grid.channels + channel;
            float values[V];
            load<V>(x + at, values);
            if (factor) {
                float factors[V];
                load<V>(factor + at, factors);
                UNROLL(k, V) values[k] *= factors[k];
            }
            UNROLL(k, V) total[k] += values[k];
        }
    }
    UNROLL(k, V) {
        float sum = sum_over_y(total[k], space);
        if (inside && threadIdx.y == 0) sums[blockIdx.y * grid.channels + channel + k] = sum;
    }
}

// sums[chunk, c]: the sum of x[row, c] over the rows of a block, or of x[row, c] factor[row, c].
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS)
    sum_rows(const act_t* __restrict__ x, const act_t* __restrict__ factor, float* __restrict__ sums,
             ChannelGrid grid) {
    BY_VECTOR(grid, sum_chunk<V>(x, factor, sums, grid));
}

// sum[c]: the sum of sums[chunk, c] over the chunks, which are the rows of `grid`.
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS)
    sum_chunks(const float* __restrict__ sums, float* __restrict__ sum, ChannelGrid grid) {
    __shared__ double space[CHANNEL_THREADS];
    u32 channel = channel_of(grid);
    bool inside = channel < grid.channels;
    double total = 0.0;
    if (inside) {
        for (u32 row = first_row(grid); row < end_row(grid); row += blockDim.y) {
            total += (double)sums[row * grid.channels + channel];
        }
    }
    total = sum_over_y(total, space);
    if (inside && threadIdx.y == 0) sum[channel] = (float)total;
}
