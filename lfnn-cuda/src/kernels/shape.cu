// Operations that move elements and compute nothing.

// y[stack, c, r] = x[stack, r, c] for a stack of matrices [rows, columns], by tiles that are read and written
// along memory. Blocks of TILE x 8 threads.
extern "C" __global__ void __launch_bounds__(256)
    transpose(const act_t* __restrict__ x, act_t* __restrict__ y, u32 rows, u32 columns, u32 stack) {
    __shared__ act_t tile[TILE][TILE + 1];
    for (u32 matrix = blockIdx.z; matrix < stack; matrix += gridDim.z) {
        u32 start = matrix * rows * columns;
        u32 row = blockIdx.y * TILE, column = blockIdx.x * TILE;
        for (u32 i = threadIdx.y; i < TILE; i += blockDim.y) {
            if (row + i < rows && column + threadIdx.x < columns) {
                tile[i][threadIdx.x] = x[start + (row + i) * columns + column + threadIdx.x];
            }
        }
        __syncthreads();
        for (u32 i = threadIdx.y; i < TILE; i += blockDim.y) {
            if (column + i < columns && row + threadIdx.x < rows) {
                y[start + (column + i) * rows + row + threadIdx.x] = tile[threadIdx.x][i];
            }
        }
        __syncthreads();
    }
}

// y[stack, c, r] = x[stack, r, c] for a stack of matrices [rows, columns] of runs.
extern "C" __global__ void __launch_bounds__(256)
    swap_axes(const act_t* __restrict__ x, act_t* __restrict__ y, u32 n, u32 rows, u32 columns, u32 run) {
    GRID_STRIDE(i, n) {
        u32 at = i / run, row = at % rows, column = at / rows % columns, matrix = at / (rows * columns);
        y[i] = x[((matrix * rows + row) * columns + column) * run + i % run];
    }
}

// Copies columns: x[row, x_first + c] to y[row, y_first + c] for the c below `columns`.
extern "C" __global__ void __launch_bounds__(256)
    copy_columns(const act_t* __restrict__ x, act_t* __restrict__ y, u32 rows, u32 columns, u32 x_first, u32 x_channels,
                 u32 y_first, u32 y_channels) {
    GRID_STRIDE(i, rows * columns) {
        u32 row = i / columns, column = i % columns;
        y[row * y_channels + y_first + column] = x[row * x_channels + x_first + column];
    }
}

// y[row] = x[row], followed by zeros up to whole packs.
extern "C" __global__ void __launch_bounds__(256)
    pad_channels(const act_t* __restrict__ x, act_t* __restrict__ y, u32 rows, u32 channels, u32 packs) {
    GRID_STRIDE(i, rows * packs) {
        u32 row = i / packs, first = i % packs * PACK;
        Pack out;
        UNROLL(k, PACK) {
            u32 channel = first + k;
            out.values[k] = channel < channels ? x[row * channels + channel] : to_act(0.0f);
        }
        reinterpret_cast<Pack*>(y)[i] = out;
    }
}
