// A bias for every channel, and its gradient.

template <u32 V>
__device__ __forceinline__ void bias_rows(const real* x, const float* bias, real* y, const Columns& columns) {
    u32 channel = columns.channel();
    if (channel >= columns.channels) return;
    float add[V];
#pragma unroll
    for (u32 k = 0; k < V; ++k) add[k] = bias[channel + k];
    for (u32 row = columns.first(); row < columns.end(); row += blockDim.y) {
        u32 at = row * columns.channels + channel;
        float values[V];
        load<V>(x + at, values);
#pragma unroll
        for (u32 k = 0; k < V; ++k) values[k] += add[k];
        store<V>(y + at, values);
    }
}

// y[row, c] = x[row, c] + bias[c].
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    add_bias(const real* __restrict__ x, const float* __restrict__ bias, real* __restrict__ y, Columns columns) {
    if (columns.vector == 1) {
        bias_rows<1>(x, bias, y, columns);
    } else {
        bias_rows<PACK>(x, bias, y, columns);
    }
}

template <u32 V> __device__ __forceinline__ void sum_chunk(const real* x, float* sums, const Columns& columns) {
    __shared__ float space[COLUMN_THREADS];
    u32 channel = columns.channel();
    bool inside = channel < columns.channels;
    float total[V];
#pragma unroll
    for (u32 k = 0; k < V; ++k) total[k] = 0.0f;
    if (inside) {
#pragma unroll 4
        for (u32 row = columns.first(); row < columns.end(); row += blockDim.y) {
            float values[V];
            load<V>(x + row * columns.channels + channel, values);
#pragma unroll
            for (u32 k = 0; k < V; ++k) total[k] += values[k];
        }
    }
#pragma unroll
    for (u32 k = 0; k < V; ++k) {
        float sum = sum_over_y(total[k], space);
        if (inside && threadIdx.y == 0) sums[blockIdx.y * columns.channels + channel + k] = sum;
    }
}

// sums[chunk, c]: the sum of x[row, c] over the rows of a block.
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    sum_rows(const real* __restrict__ x, float* __restrict__ sums, Columns columns) {
    if (columns.vector == 1) {
        sum_chunk<1>(x, sums, columns);
    } else {
        sum_chunk<PACK>(x, sums, columns);
    }
}

// sum[c]: the sum of sums[chunk, c] over the chunks, which are the rows of `columns`.
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    sum_chunks(const float* __restrict__ sums, float* __restrict__ sum, Columns columns) {
    __shared__ double space[COLUMN_THREADS];
    u32 channel = columns.channel();
    bool inside = channel < columns.channels;
    double total = 0.0;
    if (inside) {
        for (u32 row = columns.first(); row < columns.end(); row += blockDim.y) {
            total += (double)sums[row * columns.channels + channel];
        }
    }
    total = sum_over_y(total, space);
    if (inside && threadIdx.y == 0) sum[channel] = (float)total;
}
