// Layer normalisation. Lanes share a run of channels, which is a row; whole warps go on together, because their lanes
// exchange values.
//
// Means are taken of differences from the first number, so that those of equal numbers are exact.

// y = (x - mean) / sqrt(variance + epsilon) in each run.
extern "C" __global__ void __launch_bounds__(256)
    layer_norm(const act_t* __restrict__ x, act_t* __restrict__ y, float* __restrict__ inv_std, float epsilon,
               MatrixRows m) {
    u32 lane = threadIdx.x % m.lanes, groups = blockDim.x / m.lanes;
    for (u32 begin = blockIdx.x * groups; begin < m.rows; begin += gridDim.x * groups) {
        u32 row = begin + threadIdx.x / m.lanes, at = row * m.width;
        u32 width = row < m.rows ? m.width : 0;
        float first = width ? to_float(x[at]) : 0.0f, sum = 0.0f, squares = 0.0f;
#pragma unroll 4
        for (u32 k = lane; k < width; k += m.lanes) sum += to_float(x[at + k]) - first;
        float mean = first + reduce_lanes(sum, m.lanes, Plus()) / (float)m.width;
#pragma unroll 4
        for (u32 k = lane; k < width; k += m.lanes) {
            float distance = to_float(x[at + k]) - mean;
            squares += distance * distance;
        }
        float scale = 1.0f / sqrtf(reduce_lanes(squares, m.lanes, Plus()) / (float)m.width + epsilon);
#pragma unroll 4
        for (u32 k = lane; k < width; k += m.lanes) y[at + k] = to_act((to_float(x[at + k]) - mean) * scale);
        if (width && lane == 0) inv_std[row] = scale;
    }
}

// dx = (dy - mean(dy) - y mean(y dy)) inv_std in each run.
extern "C" __global__ void __launch_bounds__(256)
    layer_norm_grad(const act_t* __restrict__ y, const float* __restrict__ inv_std, const act_t* __restrict__ dy,
                    act_t* __restrict__ dx, MatrixRows m) {
    u32 lane = threadIdx.x % m.lanes, groups = blockDim.x / m.lanes;
    for (u32 begin = blockIdx.x * groups; begin < m.rows; begin += gridDim.x * groups) {
        u32 row = begin + threadIdx.x / m.lanes, at = row * m.width;
        u32 width = row < m.rows ? m.width : 0;
        float sum = 0.0f, along = 0.0f;
#pragma unroll 4
        for (u32 k = lane; k < width; k += m.lanes) {
            float gradient = to_float(dy[at + k]);
            sum += gradient;
            along += to_float(y[at + k]) * gradient;
        }
        float mean = reduce_lanes(sum, m.lanes, Plus()) / (float)m.width;
        along = reduce_lanes(along, m.lanes, Plus()) / (float)m.width;
        float scale = width ? inv_std[row] : 0.0f;
#pragma unroll 4
        for (u32 k = lane; k < width; k += m.lanes) {
            dx[at + k] = to_act((to_float(dy[at + k]) - mean - to_float(y[at + k]) * along) * scale);
        }
    }
}
