// y = conv(x, W) + b: rows are pixels of the result, columns filters, the inner axis taps and channels.

// Filters of a group: each has its inner axis contiguous.
struct Filters {
    const act_t* any;
    u32 count, inner_extent;

    __device__ __forceinline__ u32 inner(u32 k) const { return k; }
    __device__ __forceinline__ const act_t* at(u32 k, u32 filter) const {
        return filter < count && k < inner_extent ? any + (filter * inner_extent + k) : nullptr;
    }
};

// Elements from one line of sums to the next: eight more than a multiple of 32, as far as can be, so that lines meet
// different banks.
template <class Engine>
constexpr u32 LINE_OF_MOMENTS = Engine::COLUMNS % 32 == 8 ? Engine::COLUMNS : Engine::COLUMNS + 8;

// The mean of each column of a tile, and the sum of squares of the differences from it: what batch normalisation makes
// its statistics of. `rows` and `columns` of the tile are there. The factors in shared memory are no longer needed.
template <class Engine>
__device__ __forceinline__ void moments_of(const Engine& engine, float* space, u32 rows, u32 columns, float* means,
                                           float* squares) {
    constexpr u32 COLUMNS = Engine::COLUMNS, LINE = LINE_OF_MOMENTS<Engine>;
    static_assert(COLUMNS <= Engine::THREADS, "a thread adds up a column");
    float *mean = space + Engine::LINES * LINE, *own = space + Engine::line() * LINE;
    u32 thread = threadIdx.x;
    auto keep = [&](u32 column, float total) { own[column] = total; };
    auto reduced = [&] {
        float sum = 0.0f;
#pragma unroll 4
        for (u32 line = 0; line < Engine::LINES; ++line) sum += space[line * LINE + thread];
        return sum;
    };
    __syncthreads();
    engine.template by_columns<true, true>([&](u32 row, u32, float sum) { return row < rows ? sum : 0.0f; }, keep);
    __syncthreads();
    if (thread < COLUMNS) mean[thread] = reduced() / (float)rows;
    __syncthreads();
    engine.template by_columns<true, true>(
        [&](u32 row, u32 column, float sum) {
            float difference = sum - mean[column];
            return row < rows ? difference * difference : 0.0f;
        },
        keep);
    __syncthreads();
    if (thread < min(columns, COLUMNS)) {
        means[thread] = mean[thread];
        squares[thread] = reduced();
    }
}

// `moments` [2, row tiles, filters] are wanted where a batch normalisation follows and the inner axis is whole.
template <u32 V, class Engine>
__device__ __forceinline__ void forward(const act_t* x, const act_t* weight, const float* bias, act_t* y, float* parts,
                                        float* moments, const Geometry& g) {
    using Layout = Stages<Engine, true, true>;
    DYNAMIC_SHARED(act_t, shared);
    Position* table = reinterpret_cast<Position*>(shared + Layout::ELEMENTS);
    Block block = Block::of<Engine>(g);
    u32 depth = g.channels / g.groups, first_filter = block.group * g.columns;
    for (u32 r = threadIdx.x; r < Engine::ROWS; r += Engine::THREADS) {
        u32 pixel = block.row + r;
        Position position = {0, OUTSIDE, 0, NOWHERE};
        if (pixel < g.rows) {
            u32 image = divide(pixel, g.by_out_pixels), within = pixel - image * g.by_out_pixels.divisor;
            u32 row = divide(within, g.by_out_width), column = within - row * g.out_width;
            position.base = image * g.height * g.width * g.channels + block.group * depth;
            position.row = (int)(row * g.stride_height) - (int)g.padding_height;
            position.column = (int)(column * g.stride_width) - (int)g.padding_width;
            position.out = pixel * g.filters + first_filter;
        }
        table[r] = position;
    }
    __syncthreads();

    Taps<1> rows = {x, table, g.height, g.width, g.channels, g.inner, depth, g.by_channels, g.by_taps};
    Filters columns = {weight + (size_t)(first_filter + block.column) * g.inner, g.columns - block.column, g.inner};
    Engine engine;
    engine.clear();
    multiply_steps<true, true, V, V>(engine, shared, first_step(g, block), end_step(g, block, g.inner), rows, columns,
                                     [](const act_t*) {});
    if (bias) bias += first_filter;
    if (moments) {
        static_assert((Engine::LINES + 1) * LINE_OF_MOMENTS<Engine> * sizeof(float) <=
                          Layout::ELEMENTS * sizeof(act_t),
                      "sums of columns fit where the factors were");
        // The moments are those of what is stored.
        u32 left = g.columns - block.column;
        engine.template change<true>([&](u32 column, float sum) {
            return to_float(to_act(bias && column < left ? sum + bias[block.column + column] : sum));
        });
        bias = nullptr;
        float* means = moments + (block.row / Engine::ROWS * g.filters + first_filter + block.column);
        moments_of(engine, reinterpret_cast<float*>(shared), min(Engine::ROWS, g.rows - block.row), left, means,
                   means + g.row_tiles * g.filters);
    }
    bool pairs = g.filters % 2 == 0 && g.columns % 2 == 0;
    Results results = {table, bias,
                       y, parts ? parts + (size_t)block.split * g.part : nullptr,
                       g.columns, block.column, pairs};
    write<true, true>(engine, shared, results, g.filters);
}

// y = bias + the sum of the parts: for convolutions and input gradients.
extern "C" __global__ void __launch_bounds__(256)
    conv_sum(const float* __restrict__ parts, const float* __restrict__ bias, act_t* __restrict__ y, u32 n, u32 splits,
             Divide by_columns) {
    GRID_STRIDE(i, n) {
        float sum = sum_parts(parts, i, n, splits);
        if (bias) sum += bias[i - divide(i, by_columns) * by_columns.divisor];
        y[i] = to_act(sum);
    }
}

template <u32 V> struct __align__(V * sizeof(float) < 16 ? V * sizeof(float) : 16) Floats {
    float values[V];
};

// Elements of y, as they are stored, from the sums of the parts.
template <u32 V>
__device__ __forceinline__ void reduce_parts(const float* parts, const float (&bias)[V], u32 at, u32 n, u32 splits,
                                           float (&out)[V]) {
    UNROLL(k, V) out[k] = 0.0f;
#pragma unroll 2
    for (u32 split = 0; split < splits; ++split) {
        Floats<V> in = *reinterpret_cast<const Floats<V>*>(parts + (size_t)split * n + at);
        UNROLL(k, V) out[k] += in.values[k];
    }
    UNROLL(k, V) out[k] = to_float(to_act(out[k] + bias[k]));
}

template <u32 V>
__device__ __forceinline__ void sum_moments(const float* parts, const float* bias, act_t* y, float* moments, u32 splits,
                                            const ChannelGrid& grid) {
    __shared__ float space[CHANNEL_THREADS];
    u32 channel = channel_of(grid), n = grid.rows * grid.channels, begin = blockIdx.y * grid.chunk;
    bool inside = channel < grid.channels;
    float sum[V], squares[V], shift[V], added[V];
    UNROLL(k, V) sum[k] = squares[k] = shift[k] = added[k] = 0.0f;
    if (inside) {
        UNROLL(k, V) added[k] = bias ? bias[channel + k] : 0.0f;
        // Differences from the chunk's first row: so nothing cancels where the mean is far from 0.
        reduce_parts<V>(parts, added, begin * grid.channels + channel, n, splits, shift);
        for (u32 row = first_row(grid); row < end_row(grid); row += blockDim.y) {
            u32 at = row * grid.channels + channel;
            float values[V];
            reduce_parts<V>(parts, added, at, n, splits, values);
            store<V>(y + at, values);
            UNROLL(k, V) {
                float value = values[k] - shift[k];
                sum[k] += value;
                squares[k] += value * value;
            }
        }
    }
    UNROLL(k, V) {
        float total = sum_over_y(sum[k], space), total_squares = sum_over_y(squares[k], space);
        if (!inside || threadIdx.y != 0) continue;
        float mean = total / (float)(end_row(grid) - begin), rest = total_squares - total * mean;
        u32 to = blockIdx.y * grid.channels + channel + k;
        moments[to] = shift[k] + mean;
        // NaN stays NaN.
        moments[gridDim.y * grid.channels + to] = rest < 0.0f ? 0.0f : rest;
    }
}

// y as by `conv_sum`, and the moments of each channel in each chunk of rows.
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS)
    conv_sum_moments(const float* __restrict__ parts, const float* __restrict__ bias, act_t* __restrict__ y,
                     float* __restrict__ moments, u32 splits, ChannelGrid grid) {
    BY_VECTOR(grid, sum_moments<V>(parts, bias, y, moments, splits, grid));
}

// The kernels: plan/product.rs makes one of each of its tiles.
// spills: conv_mma_128x128
#define ARGUMENTS const act_t *x, const act_t *weight, const float *bias, act_t *y, float *parts, float *moments, Geometry g
#define VALUES x, weight, bias, y, parts, moments, g
