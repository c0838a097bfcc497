// Batch normalisation over every axis but the last.

// The statistics of a channel, from the sums of x - shift and of its square. The shift is one of the channel's values
// or the mean of some: so nothing cancels where the mean is far from 0.
__device__ __forceinline__ void set_statistics(const Statistics& s, u32 channel, double shift, double sum,
                                               double squares) {
    double rows = s.rows;
    double mean = sum / rows, variance = squares / rows - mean * mean;
    // NaN stays NaN.
    if (variance < 0.0) variance = 0.0;
    mean += shift;
    s.mean[channel] = (float)mean;
    s.inv_std[channel] = (float)(1.0 / sqrt(variance + (double)s.epsilon));
    float keep = 1.0f - s.momentum;
    s.running_mean[channel] = keep * s.running_mean[channel] + s.momentum * (float)mean;
    float unbiased = (float)(variance * (rows / (rows - 1.0)));
    s.running_var[channel] = keep * s.running_var[channel] + s.momentum * unbiased;
}

template <u32 V> __device__ __forceinline__ void chunk_statistics(const Statistics& s, const ChannelGrid& grid) {
    __shared__ float space[CHANNEL_THREADS];
    u32 channel = channel_of(grid);
    bool inside = channel < grid.channels;
    float sum[V], squares[V], shift[V];
    UNROLL(k, V) sum[k] = squares[k] = 0.0f;
    if (inside) {
        load<V>(s.x + channel, shift);
#pragma unroll 4
        for (u32 row = first_row(grid); row < end_row(grid); row += blockDim.y) {
            float values[V];
            load<V>(s.x + row * grid.channels + channel, values);
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
        if (s.chunks == 1) {
            set_statistics(s, channel + k, shift[k], total, total_squares);
        } else {
            u32 to = blockIdx.y * grid.channels + channel + k;
            s.sums[to] = total;
            s.sums[s.chunks * grid.channels + to] = total_squares;
        }
    }
}

// One word, around the division of double numbers at the end.
// spills: norm_statistics
// Sums of the rows of each block; the statistics themselves where there is one chunk.
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS) norm_statistics(Statistics s, ChannelGrid grid) {
    BY_VECTOR(grid, chunk_statistics<V>(s, grid));
}

// Two sums of a channel over the chunks, which are the rows of `grid`. Threads with threadIdx.y = 0 get them.
__device__ __forceinline__ void sum_pairs(const float* sums, const ChannelGrid& grid, double& first, double& second) {
    __shared__ double space[CHANNEL_THREADS];
    u32 channel = channel_of(grid);
    first = second = 0.0;
    if (channel < grid.channels) {
        for (u32 row = first_row(grid); row < end_row(grid); row += blockDim.y) {
            u32 at = row * grid.channels + channel;
            first += (double)sums[at];
            second += (double)sums[grid.rows * grid.channels + at];
        }
    }
    first = sum_over_y(first, space);
    second = sum_over_y(second, space);
}

// The statistics, from the sums of several chunks.
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS) norm_reduce_statistics(Statistics s, ChannelGrid grid) {
    double sum, squares;
    sum_pairs(s.sums, grid, sum, squares);
    u32 channel = channel_of(grid);
    if (channel < grid.channels && threadIdx.y == 0) {
        set_statistics(s, channel, to_float(s.x[channel]), sum, squares);
    }
}

// Sums over a block's chunks of rows, from each chunk's mean and sum of squares of the differences from it: of x -
// shift and its square, and how many rows they have. The shift is the first chunk's mean. The chunks are the rows of
// `grid`; threads with threadIdx.y = 0 get the sums.
struct Moments {
    double shift, sum, squares, rows;

    __device__ __forceinline__ Moments(const Statistics& s, const ChannelGrid& grid) {
        __shared__ double space[CHANNEL_THREADS];
        u32 channel = channel_of(grid), begin = blockIdx.y * grid.chunk;
        bool inside = channel < grid.channels;
        shift = inside ? (double)s.sums[begin * grid.channels + channel] : 0.0;
        sum = squares = 0.0;
        if (inside) {
#pragma unroll 4
            for (u32 chunk = first_row(grid); chunk < end_row(grid); chunk += blockDim.y) {
                u32 at = chunk * grid.channels + channel;
                double rows = min(s.chunk, s.rows - chunk * s.chunk), mean = (double)s.sums[at] - shift;
                sum += rows * mean;
                squares += (double)s.sums[grid.rows * grid.channels + at] + rows * mean * mean;
            }
        }
        sum = sum_over_y(sum, space);
        squares = sum_over_y(squares, space);
        rows = (double)(min(s.rows, end_row(grid) * s.chunk) - begin * s.chunk);
    }
};

// Fewer and larger chunks with the same moments: [2, blocks, channels].
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS)
    norm_merge_moments(Statistics s, float* __restrict__ merged, ChannelGrid grid) {
    Moments moments(s, grid);
    u32 channel = channel_of(grid);
    if (channel >= grid.channels || threadIdx.y != 0) return;
    double mean = moments.sum / moments.rows, squares = moments.squares - moments.sum * mean;
    u32 to = blockIdx.y * grid.channels + channel;
    merged[to] = (float)(moments.shift + mean);
    // NaN stays NaN.
    merged[gridDim.y * grid.channels + to] = squares < 0.0 ? 0.0f : (float)squares;
}

// The statistics, from the moments of the chunks, which a convolution left.
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS) norm_reduce_moments(Statistics s, ChannelGrid grid) {
    Moments moments(s, grid);
    u32 channel = channel_of(grid);
    if (channel < grid.channels && threadIdx.y == 0) {
        set_statistics(s, channel, moments.shift, moments.sum, moments.squares);
    }
}

// What is normalised: the same in the forward pass and where a ReLU's sign is found again.
__device__ __forceinline__ float normal(float x, float mean, float factor, float beta) {
    return (x - mean) * factor + beta;
}

// The vectors of V channels.
template <u32 V> struct Normal {
    float factor[V], mean[V], beta[V];

    __device__ __forceinline__ Normal(const Apply& a, u32 channel) {
        UNROLL(k, V) {
            float scale = a.scale[channel + k];
            if (a.is_variance) scale = 1.0f / sqrtf(scale + a.epsilon);
            factor[k] = a.gamma[channel + k] * scale;
            mean[k] = a.mean[channel + k];
            beta[k] = a.beta[channel + k];
        }
    }

    // The results for one row, of its values.
    __device__ __forceinline__ void apply(const Apply& a, u32 at, float (&values)[V]) const {
        UNROLL(k, V) {
            float y = normal(values[k], mean[k], factor[k], beta[k]);
            values[k] = a.relu && y < 0.0f ? 0.0f : y;
        }
        if (a.y) store<V>(a.y + at, values);
    }
};

template <u32 V> __device__ __forceinline__ void apply(const Apply& a, const ChannelGrid& grid) {
    u32 channel = channel_of(grid);
    if (channel >= grid.channels) return;
    Normal<V> channels(a, channel);
#pragma unroll 4
    for (u32 row = first_row(grid); row < end_row(grid); row += blockDim.y) {
        float values[V];
        u32 at = row * grid.channels + channel;
        load<V>(a.x + at, values);
        channels.apply(a, at, values);
    }
}

// y = gamma (x - mean) / standard deviation + beta, and perhaps its ReLU.
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS) norm_apply(Apply a, ChannelGrid grid) {
    BY_VECTOR(grid, apply<V>(a, grid));
}

// Cells are pooling windows side by side, and what is left of an image beside them.

// The first element of a window's result.
__device__ __forceinline__ u32 result_of(const Windows& w, u32 image, u32 row, u32 column, u32 channels) {
    return ((image * w.out_height + row) * w.out_width + column) * channels;
}

// The position of a cell, counted in cells.
struct Cell {
    u32 image, row, column;
    // Whether it is a window.
    bool whole;

    __device__ __forceinline__ Cell(const Windows& w, u32 number) {
        u32 line = divide(number, w.by_cell_columns);
        column = number - line * w.by_cell_columns.divisor;
        image = divide(line, w.by_cell_rows);
        row = line - image * w.by_cell_rows.divisor;
        whole = row < w.out_height && column < w.out_width;
    }

    // The first element of its result.
    __device__ __forceinline__ u32 result(const Windows& w, u32 channels) const {
        return result_of(w, image, row, column, channels);
    }
};

// Gives to `take` each pixel of a cell, in order: its number in the window, where its V channels from `channel` are,
// and x there.
template <u32 V, class Take>
__device__ __forceinline__ void pixels_of(const Windows& w, const Cell& cell, const act_t* x, u32 channels, u32 channel,
                                          const Take& take) {
    u32 height = w.by_height.divisor, width = w.by_width.divisor;
    u32 rows = w.by_window_height.divisor, across = w.by_window_width.divisor;
    u32 row = cell.row * rows, column = cell.column * across;
    u32 first = ((cell.image * height + row) * width + column) * channels + channel;
    auto at = [&](u32 i, u32 j) { return first + (i * width + j) * channels; };
    if (cell.whole && rows == 2 && across == 2) {
        // The most common window: all of it is loaded before any is used, so that the loads overlap.
        float values[4][V];
        UNROLL(p, 4) load<V>(x + at(p / 2, p % 2), values[p]);
        UNROLL(p, 4) take(p, at(p / 2, p % 2), values[p]);
    } else {
        for (u32 i = 0; i < rows && row + i < height; ++i) {
            for (u32 j = 0; j < across && column + j < width; ++j) {
                float values[V];
                load<V>(x + at(i, j), values);
                take(i * across + j, at(i, j), values);
            }
        }
    }
}

template <u32 V> struct __align__(V) Bytes {
    u8 values[V];
};

// The largest values of a window of V channels, and where they are.
template <u32 V> struct Maximum {
    float values[V];
    Bytes<V> position;

    // Pixels are seen in order.
    __device__ __forceinline__ void see(u32 pixel, const float (&seen)[V]) {
        UNROLL(k, V) {
            // As it is stored; the first of equal ones stays.
            float value = to_float(to_act(seen[k]));
            if (pixel == 0 || value > values[k]) {
                values[k] = value;
                position.values[k] = (u8)pixel;
            }
        }
    }
};

template <u32 V>
__device__ __forceinline__ void apply_pool(const Apply& a, act_t* pooled, u8* position, const Windows& w,
                                           const ChannelGrid& grid) {
    u32 channel = channel_of(grid);
    if (channel >= grid.channels) return;
    Normal<V> channels(a, channel);
    for (u32 number = first_row(grid); number < end_row(grid); number += blockDim.y) {
        Cell cell(w, number);
        Maximum<V> largest;
        pixels_of<V>(w, cell, a.x, grid.channels, channel, [&](u32 pixel, u32 at, float(&values)[V]) {
            channels.apply(a, at, values);
            largest.see(pixel, values);
        });
        if (!cell.whole) continue;
        u32 to = cell.result(w, grid.channels) + channel;
        store<V>(pooled + to, largest.values);
        if (position) *reinterpret_cast<Bytes<V>*>(position + to) = largest.position;
    }
}

// As `norm_apply`, and the maximum of each window of the results with its position. The rows of `grid` are cells.
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS, 2)
    norm_apply_pool(Apply a, act_t* __restrict__ pooled, u8* __restrict__ position, Windows w, ChannelGrid grid) {
    BY_VECTOR(grid, apply_pool<V>(a, pooled, position, w, grid));
}

// The vectors of V channels with which x is normalised again, where a ReLU's sign is found so.
template <u32 V> struct Sign {
    float factor[V], beta[V];

    __device__ __forceinline__ Sign(const Backward& b, u32 channel, bool inside) {
        UNROLL(k, V) {
            factor[k] = inside ? b.gamma[channel + k] * b.inv_std[channel + k] : 0.0f;
            beta[k] = inside && b.beta ? b.beta[channel + k] : 0.0f;
        }
    }
};

// Applies the rule of the ReLU, if there is one, to `dy` of V elements from `at` on.
template <u32 V>
__device__ __forceinline__ void through_relu(const Backward& b, u32 at, const float (&x)[V], const float (&mean)[V],
                                             const Sign<V>& sign, float (&dy)[V]) {
    if (b.beta) {
        UNROLL(k, V) {
            float y = to_float(to_act(normal(x[k], mean[k], sign.factor[k], sign.beta[k])));
            if (!(y > 0.0f)) dy[k] = 0.0f;
        }
    } else if (b.activated) {
        float activated[V];
        load<V>(b.activated + at, activated);
        UNROLL(k, V) {
            if (!(activated[k] > 0.0f)) dy[k] = 0.0f;
        }
    }
}

// `dy` of a row, after the rule of the means of bins, if there are any.
template <u32 V>
__device__ __forceinline__ void upstream(const Backward& b, const ChannelGrid& grid, u32 row, u32 channel,
                                         float (&dy)[V]) {
    if (b.share == 0.0f) return load<V>(b.dy + row * grid.channels + channel, dy);
    const Windows& w = b.windows;
    u32 line = divide(row, w.by_width), across = row - line * w.by_width.divisor;
    u32 image = divide(line, w.by_height), down = line - image * w.by_height.divisor;
    u32 p = divide(down, w.by_window_height), q = divide(across, w.by_window_width);
    load<V>(b.dy + result_of(w, image, p, q, grid.channels) + channel, dy);
    UNROLL(k, V) dy[k] *= b.share;
}

// Gives to `out` each pixel of the thread's cells: its first element, x there, and dy after the rules of maximum
// pooling and ReLU. The rows of `grid` are cells.
template <u32 V, class Out>
__device__ __forceinline__ void by_cells(const Backward& b, const ChannelGrid& grid, u32 channel,
                                         const float (&mean)[V], const Sign<V>& sign, const Out& out) {
    const Windows& w = b.windows;
    for (u32 number = first_row(grid); number < end_row(grid); number += blockDim.y) {
        Cell cell(w, number);
        float pooled[V];
        Bytes<V> position;
        if (cell.whole) {
            u32 from = cell.result(w, grid.channels) + channel;
            load<V>(b.dy + from, pooled);
            position = *reinterpret_cast<const Bytes<V>*>(b.position + from);
        }
        pixels_of<V>(w, cell, b.x, grid.channels, channel, [&](u32 pixel, u32 at, const float(&x)[V]) {
            float dy[V];
            UNROLL(k, V) dy[k] = cell.whole && position.values[k] == pixel ? pooled[k] : 0.0f;
            through_relu<V>(b, at, x, mean, sign, dy);
            out(at, x, dy);
        });
    }
}

__device__ __forceinline__ void set_totals(const Backward& b, u32 channels, u32 channel, float sum, float product) {
    b.totals[channel] = sum;
    b.totals[channels + channel] = product;
    if (b.dbeta) b.dbeta[channel] = sum;
    if (b.dgamma) b.dgamma[channel] = product;
}

// `CELLS`: maximum pooling comes first, and the rows of `grid` are cells.
template <u32 V, bool CELLS> __device__ __forceinline__ void backward_sums(const Backward& b, const ChannelGrid& grid) {
    __shared__ float space[CHANNEL_THREADS];
    u32 channel = channel_of(grid);
    bool inside = channel < grid.channels;
    float sum[V], product[V], mean[V], inv_std[V];
    UNROLL(k, V) {
        sum[k] = product[k] = 0.0f;
        mean[k] = inside ? b.mean[channel + k] : 0.0f;
        inv_std[k] = inside ? b.inv_std[channel + k] : 0.0f;
    }
    Sign<V> sign(b, channel, inside);
    auto add = [&](u32, const float(&x)[V], const float(&dy)[V]) {
        UNROLL(k, V) {
            sum[k] += dy[k];
            product[k] += dy[k] * ((x[k] - mean[k]) * inv_std[k]);
        }
    };
    if constexpr (CELLS) {
        if (inside) by_cells<V>(b, grid, channel, mean, sign, add);
    } else if (inside) {
#pragma unroll 2
        for (u32 row = first_row(grid); row < end_row(grid); row += blockDim.y) {
            float x[V], dy[V];
            u32 at = row * grid.channels + channel;
            load<V>(b.x + at, x);
            upstream<V>(b, grid, row, channel, dy);
            through_relu<V>(b, at, x, mean, sign, dy);
            add(at, x, dy);
        }
    }
    UNROLL(k, V) {
        float total = sum_over_y(sum[k], space), total_product = sum_over_y(product[k], space);
        if (!inside || threadIdx.y != 0) continue;
        if (b.chunks == 1) {
            set_totals(b, grid.channels, channel + k, total, total_product);
        } else {
            u32 to = blockIdx.y * grid.channels + channel + k;
            b.sums[to] = total;
            b.sums[b.chunks * grid.channels + to] = total_product;
        }
    }
}

// Sums of the rows of each block; the totals themselves where there is one chunk.
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS) norm_backward_sums(Backward b, ChannelGrid grid) {
    BY_VECTOR(grid, backward_sums<V, false>(b, grid));
}

extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS, 2) norm_backward_sums_pool(Backward b, ChannelGrid grid) {
    BY_VECTOR(grid, backward_sums<V, true>(b, grid));
}

// The totals, from the sums of several chunks.
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS) norm_reduce_sums(Backward b, ChannelGrid grid) {
    double sum, product;
    sum_pairs(b.sums, grid, sum, product);
    u32 channel = channel_of(grid);
    if (channel < grid.channels && threadIdx.y == 0) {
        set_totals(b, grid.channels, channel, (float)sum, (float)product);
    }
}

template <u32 V, bool CELLS> __device__ __forceinline__ void backward(const Backward& b, const ChannelGrid& grid) {
    u32 channel = channel_of(grid);
    if (channel >= grid.channels) return;
    float mean[V], inv_std[V], from_sum[V], from_product[V], gamma[V], beta[V];
    Sign<V> sign(b, channel, true);
    UNROLL(k, V) {
        u32 c = channel + k;
        mean[k] = b.mean[c];
        inv_std[k] = b.inv_std[c];
        from_sum[k] = b.dy ? b.totals[c] / (float)b.rows : 0.0f;
        from_product[k] = b.dy ? b.totals[grid.channels + c] / (float)b.rows : 0.0f;
        gamma[k] = b.gamma_tangent ? b.gamma_tangent[c] : 0.0f;
        beta[k] = b.beta_tangent ? b.beta_tangent[c] : 0.0f;
    }
    auto set = [&](u32 at, const float(&x)[V], const float(&dy)[V]) {
        float dx[V];
        UNROLL(k, V) {
            float hat = (x[k] - mean[k]) * inv_std[k];
            dx[k] = sign.factor[k] * (dy[k] - from_sum[k] - hat * from_product[k]);
            // Tangents have no pooling before them.
            if constexpr (!CELLS) dx[k] = dx[k] + gamma[k] * hat + beta[k];
        }
        store<V>(b.dx + at, dx);
    };
    if constexpr (CELLS) {
        by_cells<V>(b, grid, channel, mean, sign, set);
    } else {
#pragma unroll 2
        for (u32 row = first_row(grid); row < end_row(grid); row += blockDim.y) {
            u32 at = row * grid.channels + channel;
            float x[V], dy[V];
            load<V>(b.x + at, x);
            if (b.dy) {
                upstream<V>(b, grid, row, channel, dy);
                through_relu<V>(b, at, x, mean, sign, dy);
            } else {
                UNROLL(k, V) dy[k] = 0.0f;
            }
            set(at, x, dy);
        }
    }
}

// dx = gamma / standard deviation (dy - sum / rows - hat x product / rows) + the tangents' part.
extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS) norm_backward(Backward b, ChannelGrid grid) {
    BY_VECTOR(grid, backward<V, false>(b, grid));
}

extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS, 2) norm_backward_pool(Backward b, ChannelGrid grid) {
    BY_VECTOR(grid, backward<V, true>(b, grid));
}
