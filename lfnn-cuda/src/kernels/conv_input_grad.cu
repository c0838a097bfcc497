// The gradient of a convolution's input: rows are pixels of the input, columns its channels, the inner axis the taps
// that see the pixel and the filters.
//
// With a stride, a pixel is seen only by the taps that agree with it modulo the stride. Pixels of one residue are a
// phase: within it the gradient is a convolution without a stride, and no product with zero is computed.

// The weights by tap and filter, channels contiguous.
struct Channels {
    const act_t* any;
    u32 count, depth, taps, kernel_width, inner_extent;
    // First tap of the phase, and the step between its taps.
    u32 first_row, first_column, row_step, column_step;
    Divide by_filters, by_taps;

    struct Inner {
        u32 offset;
        bool inside;
    };
    __device__ __forceinline__ Inner inner(u32 k) const {
        u32 tap = divide(k, by_filters), filter = k - tap * by_filters.divisor;
        u32 i = divide(tap, by_taps), j = tap - i * by_taps.divisor;
        u32 place = (first_row + i * row_step) * kernel_width + first_column + j * column_step;
        return Inner{(filter * taps + place) * depth, k < inner_extent};
    }
    __device__ __forceinline__ const act_t* at(const Inner& k, u32 channel) const {
        return k.inside && channel < count ? any + (k.offset + channel) : nullptr;
    }
};

// One axis of a phase: how many pixels of the input it has, its taps, and the result that the first of them leads to.
struct Phase {
    u32 pixels, first_tap, taps, result;

    __device__ __forceinline__ Phase(u32 phase, u32 extent, u32 kernel, u32 stride, u32 padding) {
        pixels = phase < extent ? (extent - phase + stride - 1) / stride : 0;
        first_tap = (phase + padding) % stride;
        taps = first_tap < kernel ? (kernel - first_tap + stride - 1) / stride : 0;
        result = (phase + padding - first_tap) / stride;
    }
};

template <u32 V, class Engine>
__device__ __forceinline__ void input_grad(const act_t* dy, const act_t* weight, act_t* dx, float* parts,
                                           const Geometry& g) {
    using Layout = Stages<Engine, true, false>;
    DYNAMIC_SHARED(act_t, shared);
    Position* table = reinterpret_cast<Position*>(shared + Layout::ELEMENTS);
    Block block = Block::of<Engine>(g);
    u32 phase_row = block.phase / g.stride_width, phase_column = block.phase % g.stride_width;
    Phase vertical(phase_row, g.height, g.kernel_height, g.stride_height, g.padding_height);
    Phase horizontal(phase_column, g.width, g.kernel_width, g.stride_width, g.padding_width);
    u32 pixels = vertical.pixels * horizontal.pixels, rows_of_phase = g.batch * pixels;
    if (block.row >= rows_of_phase) return;
    u32 filters = g.filters / g.groups, inner = vertical.taps * horizontal.taps * filters;
    u32 first_channel = block.group * g.columns;
    for (u32 r = threadIdx.x; r < Engine::ROWS; r += Engine::THREADS) {
        u32 pixel = block.row + r;
        Position position = {0, OUTSIDE, 0, NOWHERE};
        if (pixel < rows_of_phase) {
            u32 image = pixel / pixels, within = pixel - image * pixels;
            u32 row = within / horizontal.pixels, column = within - row * horizontal.pixels;
            position.base = image * g.out_height * g.out_width * g.filters + block.group * filters;
            position.row = row + vertical.result;
            position.column = column + horizontal.result;
            u32 to_row = phase_row + row * g.stride_height, to_column = phase_column + column * g.stride_width;
            position.out = ((image * g.height + to_row) * g.width + to_column) * g.channels + first_channel;
        }
        table[r] = position;
    }
    __syncthreads();

    // The taps of a row of the window are one of two numbers.
    Divide by_taps = horizontal.taps == g.by_taps.divisor ? g.by_taps : g.by_fewer_taps;
    Taps<-1> rows = {dy, table, g.out_height, g.out_width, g.filters, inner, filters, g.by_filters, by_taps};
    u32 taps = g.kernel_height * g.kernel_width;
    Channels columns = {weight + (size_t)block.group * filters * taps * g.columns + block.column,
                        g.columns - block.column, g.columns, taps, g.kernel_width, inner,
                        vertical.first_tap, horizontal.first_tap, g.stride_height, g.stride_width,
                        g.by_filters, by_taps};
    Engine engine;
    engine.clear();
    multiply_steps<true, false, V, V>(engine, shared, first_step(g, block), end_step(g, block, inner), rows, columns,
                                      [](const act_t*) {});
    bool pairs = g.channels % 2 == 0 && g.columns % 2 == 0;
    Results results = {table, nullptr, dx, parts ? parts + (size_t)block.split * g.part : nullptr,
                       g.columns, block.column, pairs};
    write<true, false>(engine, shared, results, g.channels);
}

// The kernels: plan/product.rs makes one of each of its tiles.
// spills: grad_mma_128x128
#define ARGUMENTS const act_t *dy, const act_t *weight, act_t *dx, float *parts, Geometry g
#define VALUES dy, weight, dx, parts, g
