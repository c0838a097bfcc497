// The gradients of a convolution's weight and bias: rows are filters, columns taps and channels, the inner axis the
// pixels of all results. It is long and the result small, so it is cut into parts that fill the GPU.

// The gradient of the result by pixels: filters contiguous.
struct Pixels {
    const act_t* any;
    u32 count, inner_extent, stride;

    __device__ __forceinline__ u32 inner(u32 pixel) const { return pixel < inner_extent ? pixel * stride : NOWHERE; }
    __device__ __forceinline__ const act_t* at(u32 offset, u32 filter) const {
        return offset != NOWHERE && filter < count ? any + (offset + filter) : nullptr;
    }
};

// The unrolled image by pixels: channels of a tap contiguous. The table has the block's taps and channels.
struct Unrolled {
    const act_t* any;
    const Position* table;
    u32 inner_extent;
    const Geometry& g;

    __device__ __forceinline__ Position inner(u32 pixel) const {
        if (pixel >= inner_extent) return Position{0, OUTSIDE, 0, 0};
        u32 image = divide(pixel, g.by_out_pixels), within = pixel - image * g.by_out_pixels.divisor;
        u32 row = divide(within, g.by_out_width), column = within - row * g.out_width;
        return Position{image * g.height * g.width * g.channels, (int)(row * g.stride_height) - (int)g.padding_height,
                        (int)(column * g.stride_width) - (int)g.padding_width, 0};
    }
    __device__ __forceinline__ const act_t* at(const Position& pixel, u32 outer) const {
        Position tap = table[outer];
        u32 row = pixel.row + tap.row, column = pixel.column + tap.column;
        if (row >= g.height || column >= g.width) return nullptr;
        return any + (pixel.base + (row * g.width + column) * g.channels + tap.base);
    }
};

// The gradient of the weight, or a part of it. The table says where a column's results go in a row.
struct Gradient {
    float* place;
    const Position* table;
    u32 rows, stride, first_row;

    __device__ __forceinline__ void one(u32 row, u32 column, float value) const {
        u32 r = first_row + row, to = table[column].out;
        if (r < rows && to != NOWHERE) place[r * stride + to] = value;
    }
    __device__ __forceinline__ void two(u32 row, u32 column, float left, float right) const {
        one(row, column, left);
        one(row, column + 1, right);
    }
};

template <u32 VA, u32 VB, class Engine>
__device__ __forceinline__ void weight_grad(const act_t* x, const act_t* dy, float* dweight, float* dbias,
                                            const Geometry& g) {
    using Layout = Stages<Engine, false, false>;
    static_assert(Engine::THREADS >= Engine::ROWS, "a thread for the bias of each filter");
    DYNAMIC_SHARED(act_t, shared);
    Position* table = reinterpret_cast<Position*>(shared + Layout::ELEMENTS);
    Block block = Block::of<Engine>(g);
    u32 depth = g.channels / g.groups, first_filter = block.group * g.rows;
    for (u32 c = threadIdx.x; c < Engine::COLUMNS; c += Engine::THREADS) {
        u32 k = block.column + c;
        Position position = {0, OUTSIDE, 0, NOWHERE};
        if (k < g.columns) {
            u32 tap = divide(k, g.by_channels), channel = k - tap * depth, i = divide(tap, g.by_taps);
            position.base = block.group * depth + channel;
            position.row = i;
            position.column = tap - i * g.kernel_width;
            if (channel < g.kept) position.out = tap * g.kept + channel;
        }
        table[c] = position;
    }
    __syncthreads();

    Pixels rows = {dy + first_filter + block.row, g.rows - block.row, g.inner, g.filters};
    Unrolled columns = {x, table, g.inner, g};
    // One block of the columns sums the bias' gradient while it has the tiles.
    bool sums_bias = dbias && block.column == 0 && threadIdx.x < Engine::ROWS;
    float bias_sum = 0.0f;
    Engine engine;
    engine.clear();
    multiply_steps<false, false, VA, VB>(
        engine, shared, first_step(g, block), end_step(g, block, g.inner), rows, columns, [&](const act_t* tile) {
            if (!sums_bias) return;
            float sum = 0.0f;
            UNROLL(k, STEP) sum += to_float(tile[k * Tile<false, Engine::ROWS>::ROW + threadIdx.x]);
            bias_sum += sum;
        });
    size_t part = (size_t)block.split * g.part;
    if (sums_bias && block.row + threadIdx.x < g.rows) dbias[part + first_filter + block.row + threadIdx.x] = bias_sum;
    u32 stride = g.kernel_height * g.kernel_width * g.kept;
    Gradient results = {dweight + part + (size_t)first_filter * stride, table, g.rows, stride, block.row};
    engine.template results<false, false>(results);
}

// Sums of parts: the first `weights` elements of each are the weight's gradient, the others the bias'.
extern "C" __global__ void __launch_bounds__(256)
    weight_sum(const float* __restrict__ parts, float* __restrict__ dweight, float* __restrict__ dbias, u32 n,
               u32 weights, u32 splits) {
    GRID_STRIDE(i, n) {
        float sum = sum_parts(parts, i, n, splits);
        if (i < weights) {
            dweight[i] = sum;
        } else {
            dbias[i - weights] = sum;
        }
    }
}

// The kernels: plan/product.rs makes one of each of its tiles.
// spills: weight_mma_128x128
#define ARGUMENTS const act_t *x, const act_t *dy, float *dweight, float *dbias, Geometry g
#define VALUES x, dy, dweight, dbias, g
