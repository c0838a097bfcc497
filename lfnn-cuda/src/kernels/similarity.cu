// Similarity matching: deviations over positions, normalised rows, and the loss of their similarities.
//
// Means are taken of differences from the first number. Those of equal numbers are exactly 0, and so are their
// deviation and its gradient.

// The factor of x - mean in the derivative of a deviation.
__device__ __forceinline__ float slope_of(float deviation, const Images& m) {
    return deviation == 0.0f ? 0.0f : 1.0f / ((float)(m.positions - 1) * deviation);
}

// Mean and deviation over the positions of each channel: x [batch, positions, channels]. A block has some channels of an
// image.
extern "C" __global__ void __launch_bounds__(256)
    deviation(const act_t* __restrict__ x, float* __restrict__ mean, float* __restrict__ y, Images m) {
    __shared__ float space[256];
    u32 c = blockIdx.x * blockDim.x + threadIdx.x;
    bool inside = c < m.channels;
    for (u32 image = blockIdx.y; image < m.batch; image += gridDim.y) {
        const act_t* channel = x + image * m.positions * m.channels + c;
        float first = inside ? to_float(channel[0]) : 0.0f, sum = 0.0f;
#pragma unroll 4
        for (u32 p = threadIdx.y; inside && p < m.positions; p += blockDim.y) {
            sum += to_float(channel[p * m.channels]) - first;
        }
        float middle = first + sum_over_y(sum, space) / (float)m.positions, squares = 0.0f;
#pragma unroll 4
        for (u32 p = threadIdx.y; inside && p < m.positions; p += blockDim.y) {
            float distance = to_float(channel[p * m.channels]) - middle;
            squares += distance * distance;
        }
        squares = sum_over_y(squares, space);
        if (inside && threadIdx.y == 0) {
            mean[image * m.channels + c] = middle;
            y[image * m.channels + c] = sqrtf(squares / (float)(m.positions - 1));
        }
    }
}

// dx = dy (x - mean) / ((positions - 1) y).
extern "C" __global__ void __launch_bounds__(256)
    deviation_grad(const act_t* x, const float* __restrict__ mean, const float* __restrict__ y,
                   const float* __restrict__ dy, act_t* dx, Images m) {
    map(m.batch * m.by_image.divisor, dx, [=](u32 i, float x) {
        u32 c = i - divide(i, m.by_channel) * m.channels, at = divide(i, m.by_image) * m.channels + c;
        return dy[at] * slope_of(y[at], m) * (x - mean[at]);
    }, x);
}

// dy = the sum of dx (x - mean) / ((positions - 1) y) over the positions. A block has some channels of an image.
extern "C" __global__ void __launch_bounds__(256)
    deviation_tangent(const act_t* __restrict__ x, const float* __restrict__ mean, const float* __restrict__ y,
                      const act_t* __restrict__ dx, float* __restrict__ dy, Images m) {
    __shared__ float space[256];
    u32 c = blockIdx.x * blockDim.x + threadIdx.x;
    bool inside = c < m.channels;
    for (u32 image = blockIdx.y; image < m.batch; image += gridDim.y) {
        u32 begin = image * m.positions * m.channels + c, at = image * m.channels + c;
        float middle = inside ? mean[at] : 0.0f, sum = 0.0f;
#pragma unroll 4
        for (u32 p = threadIdx.y; inside && p < m.positions; p += blockDim.y) {
            u32 i = begin + p * m.channels;
            sum += to_float(dx[i]) * (to_float(x[i]) - middle);
        }
        sum = sum_over_y(sum, space);
        if (inside && threadIdx.y == 0) dy[at] = sum * slope_of(y[at], m);
    }
}

// y = the centred row divided by its norm and epsilon. Lanes share a row; whole warps go on together, because their
// lanes exchange values.
extern "C" __global__ void __launch_bounds__(256)
    normalize_rows(const act_t* __restrict__ x, float* __restrict__ norm, float* __restrict__ y, float epsilon,
                   MatrixRows m) {
    u32 lane = threadIdx.x % m.lanes, groups = blockDim.x / m.lanes;
    for (u32 begin = blockIdx.x * groups; begin < m.rows; begin += gridDim.x * groups) {
        u32 row = begin + threadIdx.x / m.lanes, at = row * m.width;
        u32 width = row < m.rows ? m.width : 0;
        float first = width ? to_float(x[at]) : 0.0f, sum = 0.0f, squares = 0.0f;
        for (u32 k = lane; k < width; k += m.lanes) sum += to_float(x[at + k]) - first;
        float mean = first + reduce_lanes(sum, m.lanes, Plus()) / (float)m.width;
        for (u32 k = lane; k < width; k += m.lanes) {
            float distance = to_float(x[at + k]) - mean;
            squares += distance * distance;
        }
        float length = sqrtf(reduce_lanes(squares, m.lanes, Plus())), share = 1.0f / (length + epsilon);
        for (u32 k = lane; k < width; k += m.lanes) y[at + k] = (to_float(x[at + k]) - mean) * share;
        if (width && lane == 0) norm[row] = length;
    }
}

// dx = (c' - y (y . c') (norm + epsilon) / norm) / (norm + epsilon) with c' = dy - mean(dy); 0 where the norm is 0.
extern "C" __global__ void __launch_bounds__(256)
    normalize_rows_grad(const float* __restrict__ y, const float* __restrict__ norm, const float* __restrict__ dy,
                        float* __restrict__ dx, float epsilon, MatrixRows m) {
    u32 lane = threadIdx.x % m.lanes, groups = blockDim.x / m.lanes;
    for (u32 begin = blockIdx.x * groups; begin < m.rows; begin += gridDim.x * groups) {
        u32 row = begin + threadIdx.x / m.lanes, at = row * m.width;
        u32 width = row < m.rows ? m.width : 0;
        float sum = 0.0f, along = 0.0f;
        for (u32 k = lane; k < width; k += m.lanes) sum += dy[at + k];
        float mean = reduce_lanes(sum, m.lanes, Plus()) / (float)m.width;
        for (u32 k = lane; k < width; k += m.lanes) along += y[at + k] * (dy[at + k] - mean);
        along = reduce_lanes(along, m.lanes, Plus());
        float own = width ? norm[row] : 0.0f, length = own + epsilon;
        float share = own == 0.0f ? 0.0f : 1.0f / length;
        along = own == 0.0f ? 0.0f : along * length / own;
        for (u32 k = lane; k < width; k += m.lanes) {
            dx[at + k] = (dy[at + k] - mean - y[at + k] * along) * share;
        }
    }
}

// gradient = factor (R - T), and the mean of (R - T)^2 of each row; in half precision the gradient times the scale of the
// loss. T is 1 or `different` by labels, or given.
extern "C" __global__ void __launch_bounds__(256)
    similarity_loss(const float* __restrict__ similarity, const u32* __restrict__ labels,
                    const float* __restrict__ similarities, float* __restrict__ gradient, float* __restrict__ losses,
                    Scaling scaling, float different, float factor, MatrixRows m) {
    u32 lane = threadIdx.x % m.lanes, groups = blockDim.x / m.lanes;
    factor *= scale_of(scaling);
    for (u32 begin = blockIdx.x * groups; begin < m.rows; begin += gridDim.x * groups) {
        u32 row = begin + threadIdx.x / m.lanes, at = row * m.width;
        u32 width = row < m.rows ? m.width : 0;
        float squares = 0.0f;
        for (u32 k = lane; k < width; k += m.lanes) {
            float target = similarities ? similarities[at + k] : labels[row] == labels[k] ? 1.0f : different;
            float distance = similarity[at + k] - target;
            squares += distance * distance;
            gradient[at + k] = distance * factor;
        }
        squares = reduce_lanes(squares, m.lanes, Plus());
        if (width && lane == 0) losses[row] = squares / (float)m.width;
    }
}
