// What every kernel file begins with: loops, sums of warps and blocks, loss scales, random numbers.

// Threads of the grid share the indices below n.
#define GRID_STRIDE(i, n) for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

// A loop over 0 .. n, written out.
#define UNROLL(k, n) _Pragma("unroll") for (u32 k = 0; k < (n); ++k)

#define FULL_MASK 0xFFFFFFFFu
#define POSITIVE_INFINITY __int_as_float(0x7F800000)

// As many elements as one access of 16 bytes moves.
constexpr u32 PACK = 16 / sizeof(act_t);
struct __align__(16) Pack {
    act_t values[PACK];
};

// y[i] = f(x[i]...) for all i < n, 16 bytes at a time.
template <class F, class... X> __device__ __forceinline__ void map(u32 n, act_t* y, F f, const X*... x) {
    u32 packs = n / PACK;
    GRID_STRIDE(p, packs) {
        Pack out;
        // The packs are loaded before the first is used, so that the loads overlap.
        [&](const auto&... in) {
            UNROLL(k, PACK) out.values[k] = to_act(f(p * PACK + k, to_float(in.values[k])...));
        }(reinterpret_cast<const Pack*>(x)[p]...);
        reinterpret_cast<Pack*>(y)[p] = out;
    }
    u32 tail = packs * PACK + blockIdx.x * blockDim.x + threadIdx.x;
    if (tail < n) y[tail] = to_act(f(tail, to_float(x[tail])...));
}

// V consecutive elements, moved at once: 1, or as many as fit 16 bytes.
template <u32 V> struct __align__(V * sizeof(act_t)) Vector {
    act_t values[V];
};

template <u32 V> __device__ __forceinline__ void load(const act_t* place, float (&out)[V]) {
    Vector<V> in = *reinterpret_cast<const Vector<V>*>(place);
    UNROLL(k, V) out[k] = to_float(in.values[k]);
}

template <u32 V> __device__ __forceinline__ void store(act_t* place, const float (&in)[V]) {
    Vector<V> out;
    UNROLL(k, V) out.values[k] = to_act(in[k]);
    *reinterpret_cast<Vector<V>*>(place) = out;
}

// Division by a number that the host has prepared: for n < 2^31.
__device__ __forceinline__ u32 divide(u32 n, const Divide& by) {
    return by.multiplier ? __umulhi(n, by.multiplier) >> by.shift : n;
}

// ---- Sums ----

struct Plus {
    template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a + b; }
};
struct Largest {
    __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Reduces the values of groups of `lanes` lanes, a power of two; every lane gets the result. All lanes of the
// warp take part.
template <class T, class F> __device__ __forceinline__ T reduce_lanes(T value, u32 lanes, F reduce) {
    for (u32 offset = lanes / 2; offset > 0; offset /= 2) {
        value = reduce(value, __shfl_xor_sync(FULL_MASK, value, offset));
    }
    return value;
}

// The sum over a block of at most 1024 threads, whole warps; thread 0 gets it. `space` has room for 32.
template <class T> __device__ __forceinline__ T block_sum(T value, T* space) {
    u32 thread = threadIdx.x + blockDim.x * threadIdx.y, threads = blockDim.x * blockDim.y;
    value = reduce_lanes(value, 32, Plus());
    __syncthreads();
    if (thread % 32 == 0) space[thread / 32] = value;
    __syncthreads();
    if (thread < 32) {
        value = thread < threads / 32 ? space[thread] : T(0);
        value = reduce_lanes(value, 32, Plus());
    }
    return value;
}

// The threads of a block in rows, and which of them this is.
struct Threads {
    u32 x, y, across, down;

    // As they were launched.
    static __device__ __forceinline__ Threads launched() {
        return Threads{threadIdx.x, threadIdx.y, blockDim.x, blockDim.y};
    }

    // Those of a block that is one row, in rows of one for each column, 32 at most. The last of them may be in no whole
    // row: their y is `down`, and they take part in barriers alone.
    static __device__ __forceinline__ Threads for_columns(u32 columns) {
        u32 across = min(max(columns, 1u), 32u);
        return Threads{threadIdx.x % across, threadIdx.x / across, across, blockDim.x / across};
    }
};

// Sums over y; every thread gets that of its x. `space` has room for one value of each thread of the block.
template <class T> __device__ __forceinline__ T sum_over_y(T value, T* space, const Threads& threads) {
    u32 at = threads.y * threads.across + threads.x;
    __syncthreads();
    space[at] = value;
    __syncthreads();
    for (u32 rows = threads.down; rows > 1;) {
        u32 half = (rows + 1) / 2;
        if (threads.y < rows - half) space[at] += space[at + half * threads.across];
        __syncthreads();
        rows = half;
    }
    return space[threads.x];
}

template <class T> __device__ __forceinline__ T sum_over_y(T value, T* space) {
    return sum_over_y(value, space, Threads::launched());
}

// A matrix [rows, channels] gone through by channel. A thread has `vector` consecutive channels and every
// blockDim.y-th row of its block's rows; the blocks of one blockIdx.x share their channels.
__device__ __forceinline__ u32 channel_of(const ChannelGrid& grid) {
    return (blockIdx.x * blockDim.x + threadIdx.x) * grid.vector;
}
__device__ __forceinline__ u32 first_row(const ChannelGrid& grid) { return blockIdx.y * grid.chunk + threadIdx.y; }
__device__ __forceinline__ u32 end_row(const ChannelGrid& grid) { return min(grid.rows, (blockIdx.y + 1) * grid.chunk); }

// Does this with V channels for each thread: as many as the grid says.
#define BY_VECTOR(grid, ...)        \
    if ((grid).vector == 1) {       \
        constexpr u32 V = 1;        \
        __VA_ARGS__;                \
    } else {                        \
        constexpr u32 V = PACK;     \
        __VA_ARGS__;                \
    }

// ---- The step counter: see lfnn_core::program::step_counter ----

// How many rows of a batch hold examples.
__device__ __forceinline__ u32 valid_rows(const u32* counter, u32 batch) {
    u64 first = (u64)counter[COUNTER_STEP] * batch, count = counter[COUNTER_COUNT];
    return first >= count ? 0 : (u32)(count - first < batch ? count - first : batch);
}

// ---- Loss scaling: see plan/scale.rs ----

__device__ __forceinline__ float scale_of(const Scaling& scaling) {
    return !scaling.state ? 1.0f : scaling.state->scale == 0.0f ? scaling.first : scaling.state->scale;
}

// ---- Random words: Philox 4x32-10, see lfnn_core::random ----

__device__ __forceinline__ uint4 philox(uint4 counter, uint2 key) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        if (round > 0) {
            key.x += 0x9E3779B9u;
            key.y += 0xBB67AE85u;
        }
        u32 a_high = __umulhi(counter.x, 0xD2511F53u), a_low = counter.x * 0xD2511F53u;
        u32 b_high = __umulhi(counter.z, 0xCD9E8D57u), b_low = counter.z * 0xCD9E8D57u;
        counter = make_uint4(b_high ^ counter.y ^ key.x, b_low, a_high ^ counter.w ^ key.y, a_low);
    }
    return counter;
}

// Block `block` of a stream at a step of the step counter's epoch.
__device__ __forceinline__ uint4 random_block(const u32* counter, u32 stream, u32 step, u32 block) {
    uint2 key = make_uint2(counter[COUNTER_SEED_LOW], counter[COUNTER_SEED_HIGH]);
    return philox(make_uint4(block, step, counter[COUNTER_EPOCH], stream), key);
}

__device__ __forceinline__ u32 word_of(uint4 block, u32 i) {
    return i == 0 ? block.x : i == 1 ? block.y : i == 2 ? block.z : block.w;
}

// A whole number below n.
__device__ __forceinline__ u32 below(u32 word, u32 n) { return __umulhi(word, n); }
