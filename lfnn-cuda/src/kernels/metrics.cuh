// Sums for the record over the rows that hold examples: for the kernels of metrics.cu and unit.cu.

// total[c] += the sum of x[row, c]; a lone row always counts. The batch is summed first, so that a long epoch's
// total does not swallow single rows.
__device__ __forceinline__ void accumulate_rows_of(const float* x, const u32* counter, float* total, u32 rows,
                                                   u32 columns, const Threads& threads) {
    __shared__ float space[256];
    u32 counted = rows == 1 ? 1 : valid_rows(counter, rows);
    u32 c = blockIdx.x * threads.across + threads.x;
    float sum = 0.0f;
    if (c < columns) {
#pragma unroll 4
        for (u32 row = threads.y; row < counted; row += threads.down) sum += x[row * columns + c];
    }
    sum = sum_over_y(sum, space, threads);
    if (c < columns && threads.y == 0) total[c] += sum;
}

// wrong[n] += the number of wrong predictions of n: output [batch, predictors, width].
__device__ __forceinline__ void count_errors_of(const act_t* output, const u32* target, const u32* counter, float* wrong,
                                                u32 batch, u32 predictors, u32 width, u32 decision, u32 one_vs_all,
                                                u32 workers, const Threads& threads) {
    __shared__ u32 space[256];
    u32 counted = valid_rows(counter, batch);
    u32 n = blockIdx.x * threads.across + threads.x;
    u32 count = 0;
    for (u32 row = threads.y; n < predictors && row < counted; row += threads.down) {
        const act_t* outputs = output + (row * predictors + n) * width;
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
    count = sum_over_y(count, space, threads);
    if (n < predictors && threads.y == 0) wrong[n] += (float)count;
}
