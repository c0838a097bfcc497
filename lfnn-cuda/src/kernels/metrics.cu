// Sums for the record over the rows that hold examples, and the clock.

// total[c] += the sum of x[row, c]; a lone row always counts. The batch is summed first, so that a long epoch's
// total does not swallow single rows.
extern "C" __global__ void __launch_bounds__(256)
    accumulate_rows(const float* __restrict__ x, const u32* __restrict__ clock, float* __restrict__ total, u32 rows,
                    u32 columns) {
    __shared__ float space[256];
    u32 counted = rows == 1 ? 1 : valid_rows(clock, rows);
    u32 c = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = 0.0f;
    if (c < columns) {
#pragma unroll 4
        for (u32 row = threadIdx.y; row < counted; row += blockDim.y) sum += x[row * columns + c];
    }
    sum = sum_over_y(sum, space);
    if (c < columns && threadIdx.y == 0) total[c] += sum;
}

// The decisions, in the order of plan/metrics.rs.
#define LARGEST 0
#define THRESHOLD 1

// wrong[n] += the number of wrong predictions of n: output [batch, predictors, width].
extern "C" __global__ void __launch_bounds__(256)
    count_errors(const real* __restrict__ output, const u32* __restrict__ target, const u32* __restrict__ clock,
                 float* __restrict__ wrong, u32 batch, u32 predictors, u32 width, u32 decision, u32 one_vs_all, u32 workers) {
    __shared__ u32 space[256];
    u32 counted = valid_rows(clock, batch);
    u32 n = blockIdx.x * blockDim.x + threadIdx.x;
    u32 count = 0;
    for (u32 row = threadIdx.y; n < predictors && row < counted; row += blockDim.y) {
        const real* outputs = output + (row * predictors + n) * width;
        u32 label = target[row];
        if (decision == THRESHOLD) {
            bool positive = label == (one_vs_all ? n / workers : 1);
            count += (to_float(outputs[0]) > 0.5f) != positive;
        } else {
            // The first of equal ones.
            u32 largest = 0;
            for (u32 k = 1; k < width; ++k) {
                if (to_float(outputs[k]) > to_float(outputs[largest])) largest = k;
            }
            count += largest != label;
        }
    }
    count = sum_over_y(count, space);
    if (n < predictors && threadIdx.y == 0) wrong[n] += (float)count;
}

extern "C" __global__ void advance_clock(u32* clock) {
    clock[CLOCK_STEP] += 1;
    clock[CLOCK_TIME] += 1;
}
