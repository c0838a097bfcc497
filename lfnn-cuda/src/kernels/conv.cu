// y = conv(x, W) + b: rows are pixels of the result, columns filters, the inner axis taps and channels.

// Filters of a group: each has its inner axis contiguous.
struct Filters {
    const real* any;
    u32 count, inner_extent;

    __device__ __forceinline__ u32 inner(u32 k) const { return k; }
    __device__ __forceinline__ const real* at(u32 k, u32 filter) const {
        return filter < count && k < inner_extent ? any + (filter * inner_extent + k) : nullptr;
    }
};

template <u32 V, class Engine>
__device__ __forceinline__ void forward(const real* x, const real* weight, const float* bias, real* y, float* parts,
                                        const Geometry& g) {
    using Layout = Stages<Engine, true, true>;
    DYNAMIC_SHARED(real, shared);
    Position* table = reinterpret_cast<Position*>(shared + Layout::COUNT * Layout::ELEMENTS);
    Block block = Block::of<Engine>(g);
    u32 depth = g.channels / g.groups, first_filter = block.group * g.columns;
    for (u32 r = threadIdx.x; r < Engine::ROWS; r += Engine::THREADS) {
        u32 pixel = block.row + r;
        Position position = {0, OUTSIDE, 0, NOWHERE};
        if (pixel < g.rows) {
            u32 image = g.by_out_pixels(pixel), within = pixel - image * g.by_out_pixels.divisor;
            u32 row = g.by_out_width(within), column = within - row * g.out_width;
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
                                     [](const real*) {});
    bool pairs = g.filters % 2 == 0 && g.columns % 2 == 0;
    Results results = {table, bias ? bias + first_filter : nullptr,
                       y, parts ? parts + (size_t)block.split * g.part : nullptr,
                       g.columns, block.column, pairs};
    engine.template results<true, true>(results);
}

// y = bias + the sum of the parts: for convolutions and input gradients.
extern "C" __global__ void __launch_bounds__(256)
    conv_sum(const float* __restrict__ parts, const float* __restrict__ bias, real* __restrict__ y, u32 n, u32 splits,
             Divide by_columns) {
    GRID_STRIDE(i, n) {
        float sum = sum_parts(parts, i, n, splits);
        if (bias) sum += bias[i - by_columns(i) * by_columns.divisor];
        y[i] = to_real(sum);
    }
}

// Bounds leave as many registers as no kernel has to spill.
#define ARGUMENTS const real *x, const real *weight, const float *bias, real *y, float *parts, Geometry g
#define VALUES x, weight, bias, y, parts, g

// Twenty bytes on the newest generation alone; whether they cost anything, no GPU has been asked.
// spills: conv_128x64
#if defined(REAL_F32)
extern "C" __global__ void __launch_bounds__(128, 2) conv_128x64(ARGUMENTS) { forward<PACK, Scalar<128, 64, 8, 8>>(VALUES); }
extern "C" __global__ void __launch_bounds__(128, 3) conv_128x40(ARGUMENTS) { forward<PACK, Scalar<128, 40, 8, 5>>(VALUES); }
extern "C" __global__ void __launch_bounds__(128, 5) conv_64x16(ARGUMENTS) { forward<PACK, Scalar<64, 16, 4, 2>>(VALUES); }
extern "C" __global__ void __launch_bounds__(128, 3) conv_128x64_any(ARGUMENTS) { forward<1, Scalar<128, 64, 8, 8>>(VALUES); }
extern "C" __global__ void __launch_bounds__(128, 3) conv_128x40_any(ARGUMENTS) { forward<1, Scalar<128, 40, 8, 5>>(VALUES); }
extern "C" __global__ void __launch_bounds__(128, 5) conv_64x16_any(ARGUMENTS) { forward<1, Scalar<64, 16, 4, 2>>(VALUES); }
#endif

#if defined(TENSOR_CORES)
extern "C" __global__ void __launch_bounds__(256, 1) conv_mma_128x128(ARGUMENTS) { forward<PACK, Tensor<128, 128, 2, 4>>(VALUES); }
extern "C" __global__ void __launch_bounds__(128, 3) conv_mma_128x64(ARGUMENTS) { forward<PACK, Tensor<128, 64, 2, 2>>(VALUES); }
extern "C" __global__ void __launch_bounds__(128, 3) conv_mma_128x40(ARGUMENTS) { forward<PACK, Tensor<128, 40, 4, 1>>(VALUES); }
extern "C" __global__ void __launch_bounds__(128, 5) conv_mma_64x16(ARGUMENTS) { forward<PACK, Tensor<64, 16, 4, 1>>(VALUES); }
extern "C" __global__ void __launch_bounds__(128, 3) conv_mma_128x64_any(ARGUMENTS) { forward<1, Tensor<128, 64, 2, 2>>(VALUES); }
extern "C" __global__ void __launch_bounds__(128, 3) conv_mma_128x40_any(ARGUMENTS) { forward<1, Tensor<128, 40, 4, 1>>(VALUES); }
extern "C" __global__ void __launch_bounds__(128, 5) conv_mma_64x16_any(ARGUMENTS) { forward<1, Tensor<64, 16, 4, 1>>(VALUES); }
#endif
