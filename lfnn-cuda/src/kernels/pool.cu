// Pooling over space, channels last. A thread has an element of the result: gradients are gathered from the
// windows that cover it, so that nothing is added by two threads.

// An element's index, taken apart.
struct Index {
    u32 image, row, column, channel;

    __device__ __forceinline__ Index(u32 i, u32 height, u32 width, u32 channels) {
        channel = i % channels;
        i /= channels;
        column = i % width;
        i /= width;
        row = i % height;
        image = i / height;
    }
};

// The positions `begin .. end` of an axis that window `at` covers, outside of the padding.
struct Covered {
    u32 begin, end;

    __device__ __forceinline__ Covered(const Pool& p, u32 axis, u32 at, u32 extent) {
        int start = (int)(at * p.stride[axis]) - (int)p.padding[axis];
        begin = (u32)max(start, 0);
        end = min((u32)(start + (int)p.kernel[axis]), extent);
    }
};

// The windows `begin .. end` of an axis that cover position `at`.
struct Covering {
    u32 begin, end;

    __device__ __forceinline__ Covering(const Pool& p, u32 axis, u32 at, u32 windows) {
        u32 padded = at + p.padding[axis], kernel = p.kernel[axis], stride = p.stride[axis];
        begin = padded < kernel ? 0 : (padded - kernel) / stride + 1;
        end = min(padded / stride + 1, windows);
    }
};

__device__ __forceinline__ u32 at(u32 image, u32 row, u32 column, u32 channel, u32 height, u32 width, u32 channels) {
    return ((image * height + row) * width + column) * channels + channel;
}

// The position in its window of (row, column), seen from window (p, q).
__device__ __forceinline__ u32 position_in(const Pool& pool, u32 row, u32 column, u32 p, u32 q) {
    u32 i = row + pool.padding[0] - p * pool.stride[0], j = column + pool.padding[1] - q * pool.stride[1];
    return i * pool.kernel[1] + j;
}

extern "C" __global__ void __launch_bounds__(256)
    max_pool(const act_t* __restrict__ x, act_t* __restrict__ y, u8* __restrict__ position, Pool p) {
    GRID_STRIDE(i, p.batch * p.out_height * p.out_width * p.channels) {
        Index out(i, p.out_height, p.out_width, p.channels);
        Covered rows(p, 0, out.row, p.height), columns(p, 1, out.column, p.width);
        act_t largest = x[at(out.image, rows.begin, columns.begin, out.channel, p.height, p.width, p.channels)];
        u32 row_of = rows.begin, column_of = columns.begin;
        for (u32 row = rows.begin; row < rows.end; ++row) {
            for (u32 column = columns.begin; column < columns.end; ++column) {
                act_t value = x[at(out.image, row, column, out.channel, p.height, p.width, p.channels)];
                // The first of equal ones stays.
                if (to_float(value) > to_float(largest)) {
                    largest = value;
                    row_of = row;
                    column_of = column;
                }
            }
        }
        y[i] = largest;
        if (position) position[i] = (u8)position_in(p, row_of, column_of, out.row, out.column);
    }
}

// One word in 16-bit precision on one generation of GPUs; whether it costs anything, no GPU has been asked.
// spills: max_pool_grad
extern "C" __global__ void __launch_bounds__(256)
    max_pool_grad(const act_t* __restrict__ dy, const u8* __restrict__ position, act_t* __restrict__ dx, Pool p) {
    GRID_STRIDE(i, p.batch * p.height * p.width * p.channels) {
        Index in(i, p.height, p.width, p.channels);
        Covering rows(p, 0, in.row, p.out_height), columns(p, 1, in.column, p.out_width);
        float sum = 0.0f;
        for (u32 row = rows.begin; row < rows.end; ++row) {
            for (u32 column = columns.begin; column < columns.end; ++column) {
                u32 from = at(in.image, row, column, in.channel, p.out_height, p.out_width, p.channels);
                if (position[from] == position_in(p, in.row, in.column, row, column)) sum += to_float(dy[from]);
            }
        }
        dx[i] = to_act(sum);
    }
}

// The tangent at the position of each maximum.
extern "C" __global__ void __launch_bounds__(256)
    max_pool_tangent(const act_t* __restrict__ dx, const u8* __restrict__ position, act_t* __restrict__ dy, Pool p) {
    GRID_STRIDE(i, p.batch * p.out_height * p.out_width * p.channels) {
        Index out(i, p.out_height, p.out_width, p.channels);
        u32 row = out.row * p.stride[0] + position[i] / p.kernel[1] - p.padding[0];
        u32 column = out.column * p.stride[1] + position[i] % p.kernel[1] - p.padding[1];
        dy[i] = dx[at(out.image, row, column, out.channel, p.height, p.width, p.channels)];
    }
}

extern "C" __global__ void __launch_bounds__(256)
    avg_pool(const act_t* __restrict__ x, act_t* __restrict__ y, Pool p, float factor) {
    GRID_STRIDE(i, p.batch * p.out_height * p.out_width * p.channels) {
        Index out(i, p.out_height, p.out_width, p.channels);
        Covered rows(p, 0, out.row, p.height), columns(p, 1, out.column, p.width);
        float sum = 0.0f;
        for (u32 row = rows.begin; row < rows.end; ++row) {
            for (u32 column = columns.begin; column < columns.end; ++column) {
                sum += to_float(x[at(out.image, row, column, out.channel, p.height, p.width, p.channels)]);
            }
        }
        y[i] = to_act(sum * factor);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    avg_pool_grad(const act_t* __restrict__ dy, act_t* __restrict__ dx, Pool p, float factor) {
    GRID_STRIDE(i, p.batch * p.height * p.width * p.channels) {
        Index in(i, p.height, p.width, p.channels);
        Covering rows(p, 0, in.row, p.out_height), columns(p, 1, in.column, p.out_width);
        float sum = 0.0f;
        for (u32 row = rows.begin; row < rows.end; ++row) {
            for (u32 column = columns.begin; column < columns.end; ++column) {
                sum += to_float(dy[at(in.image, row, column, in.channel, p.out_height, p.out_width, p.channels)]);
            }
        }
        dx[i] = to_act(sum * factor);
    }
}

// The positions of an axis of extent n that bin i of `grid` covers.
__device__ __forceinline__ u32 bin_begin(u32 i, u32 grid, u32 n) { return i * n / grid; }
__device__ __forceinline__ u32 bin_end(u32 i, u32 grid, u32 n) { return ((i + 1) * n + grid - 1) / grid; }

extern "C" __global__ void __launch_bounds__(256) adaptive_pool(const act_t* __restrict__ x, act_t* __restrict__ y, Pool p) {
    GRID_STRIDE(i, p.batch * p.out_height * p.out_width * p.channels) {
        Index out(i, p.out_height, p.out_width, p.channels);
        u32 row_begin = bin_begin(out.row, p.out_height, p.height), row_end = bin_end(out.row, p.out_height, p.height);
        u32 begin = bin_begin(out.column, p.out_width, p.width), end = bin_end(out.column, p.out_width, p.width);
        float sum = 0.0f;
        for (u32 row = row_begin; row < row_end; ++row) {
            for (u32 column = begin; column < end; ++column) {
                sum += to_float(x[at(out.image, row, column, out.channel, p.height, p.width, p.channels)]);
            }
        }
        y[i] = to_act(sum / (float)((row_end - row_begin) * (end - begin)));
    }
}

extern "C" __global__ void __launch_bounds__(256)
    adaptive_pool_grad(const act_t* __restrict__ dy, act_t* __restrict__ dx, Pool p) {
    GRID_STRIDE(i, p.batch * p.height * p.width * p.channels) {
        Index in(i, p.height, p.width, p.channels);
        // The bins that cover a position k: from k * grid / n to ((k + 1) * grid - 1) / n.
        u32 row_first = in.row * p.out_height / p.height, row_last = ((in.row + 1) * p.out_height - 1) / p.height;
        u32 first = in.column * p.out_width / p.width, last = ((in.column + 1) * p.out_width - 1) / p.width;
        float sum = 0.0f;
        for (u32 row = row_first; row <= row_last; ++row) {
            u32 rows = bin_end(row, p.out_height, p.height) - bin_begin(row, p.out_height, p.height);
            for (u32 column = first; column <= last; ++column) {
                u32 columns = bin_end(column, p.out_width, p.width) - bin_begin(column, p.out_width, p.width);
                u32 from = at(in.image, row, column, in.channel, p.out_height, p.out_width, p.channels);
                sum += to_float(dy[from]) / (float)(rows * columns);
            }
        }
        dx[i] = to_act(sum);
    }
}
