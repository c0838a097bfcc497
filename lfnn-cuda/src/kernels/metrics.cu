// Sums for the record, and the step counter: the kernels.

extern "C" __global__ void __launch_bounds__(256)
    accumulate_rows(const float* __restrict__ x, const u32* __restrict__ counter, float* __restrict__ total, u32 rows,
                    u32 columns) {
    accumulate_rows_of(x, counter, total, rows, columns, Threads::launched());
}

extern "C" __global__ void __launch_bounds__(256)
    count_errors(const act_t* __restrict__ output, const u32* __restrict__ target, const u32* __restrict__ counter,
                 float* __restrict__ wrong, u32 batch, u32 predictors, u32 width, u32 decision, u32 one_vs_all,
                 u32 workers) {
    count_errors_of(output, target, counter, wrong, batch, predictors, width, decision, one_vs_all, workers,
                    Threads::launched());
}

extern "C" __global__ void advance_step_counter(u32* counter) {
    counter[COUNTER_STEP] += 1;
    counter[COUNTER_TIME] += 1;
}
