// Operations on each element alone.

// y = f(x). NaN stays NaN.
extern "C" __global__ void __launch_bounds__(256) activate(const act_t* x, act_t* y, u32 n, u32 function) {
    map(n, y, [=](u32, float x) {
        if (function == RELU) return x < 0.0f ? 0.0f : x;
        if (function == SIGMOID) return 1.0f / (1.0f + expf(-x));
        return tanhf(x);
    }, x);
}

// dx = f'(x) dy, from y.
extern "C" __global__ void __launch_bounds__(256) activate_grad(const act_t* y, const act_t* dy, act_t* dx, u32 n,
                                                               u32 function) {
    map(n, dx, [=](u32, float y, float dy) {
        if (function == RELU) return y > 0.0f ? dy : 0.0f;
        if (function == SIGMOID) return dy * y * (1.0f - y);
        return dy * (1.0f - y * y);
    }, y, dy);
}

// y = x * factor where the element's random word is at least `threshold`, else 0. A thread has four elements,
// which share a block of words.
extern "C" __global__ void __launch_bounds__(256) dropout(const act_t* __restrict__ x, const u32* __restrict__ counter,
                                                         act_t* __restrict__ y, u32 n, u32 threshold, float factor,
                                                         u32 stream) {
    u32 step = counter[COUNTER_STEP];
    GRID_STRIDE(block, (n + 3) / 4) {
        uint4 words = random_block(counter, stream, step, block);
        UNROLL(k, 4) {
            u32 i = block * 4 + k;
            if (i < n) y[i] = word_of(words, k) >= threshold ? to_act(to_float(x[i]) * factor) : to_act(0.0f);
        }
    }
}

// y = the sum of up to eight tensors.
extern "C" __global__ void __launch_bounds__(256) add(Summands summands, act_t* y, u32 n) {
    if (summands.count == 2) {
        map(n, y, [](u32, float a, float b) { return a + b; }, summands.x[0], summands.x[1]);
        return;
    }
    GRID_STRIDE(i, n) {
        float sum = 0.0f;
        UNROLL(k, MOST_SUMMANDS) {
            if (k < summands.count) sum += to_float(summands.x[k][i]);
        }
        y[i] = to_act(sum);
    }
}

// Between the types.
extern "C" __global__ void __launch_bounds__(256) cast_to_act(const float* __restrict__ x, act_t* __restrict__ y, u32 n) {
    GRID_STRIDE(i, n) y[i] = to_act(x[i]);
}

extern "C" __global__ void __launch_bounds__(256) cast_to_float(const act_t* __restrict__ x, float* __restrict__ y, u32 n) {
    GRID_STRIDE(i, n) y[i] = to_float(x[i]);
}
