// What every kernel file begins with: the type of activations, random numbers, sums of warps and blocks.
//
// `real` is how activations and their gradients are stored: f32, bf16 or f16. All arithmetic is in f32;
// `to_float` and `to_real` convert. Tensors begin at multiples of 64 bytes and have fewer than 2^31 elements.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#if defined(REAL_F32)
typedef float real;
__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_real(float x) { return x; }
#elif defined(LFNN_EMULATOR)
// The two formats of 16 bits, converted by hand: rounding to nearest, ties to even.
struct real {
    unsigned short bits;
};
#if defined(REAL_Bf16)
__device__ __forceinline__ float to_float(real x) { return __uint_as_float((u32)x.bits << 16); }
__device__ __forceinline__ real to_real(float x) {
    u32 bits = __float_as_uint(x);
    if (x != x) return real{(unsigned short)(bits >> 16 | 0x40)};
    return real{(unsigned short)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}
#else
__device__ __forceinline__ float to_float(real x) {
    u32 sign = (u32)(x.bits & 0x8000) << 16, exponent = x.bits >> 10 & 31, fraction = x.bits & 0x3FF;
    if (exponent == 31) return __uint_as_float(sign | 0x7F800000 | fraction << 13);
    float magnitude = exponent ? ldexpf((float)(fraction | 0x400), (int)exponent - 25) : ldexpf((float)fraction, -24);
    return sign ? -magnitude : magnitude;
}
__device__ __forceinline__ real to_real(float x) {
    unsigned short sign = (unsigned short)(__float_as_uint(x) >> 16 & 0x8000);
    if (x != x) return real{(unsigned short)(sign | 0x7E00)};
    float magnitude = fabsf(x);
    if (magnitude == 0.0f) return real{sign};
    if (magnitude >= 65520.0f) return real{(unsigned short)(sign | 0x7C00)};
    // The unit in the last place of the result; `rintf` rounds to even.
    int exponent = 0;
    frexpf(magnitude, &exponent);
    int unit = max(exponent - 11, -24);
    u32 count = (u32)rintf(ldexpf(magnitude, -unit));
    u32 bits = unit == -24 ? count : count + ((u32)(unit + 24) << 10);
    return real{(unsigned short)(sign | bits)};
}
#endif
#elif defined(REAL_Bf16)
#include <cuda_bf16.h>
typedef __nv_bfloat16 real;
__device__ __forceinline__ float to_float(real x) { return __bfloat162float(x); }
__device__ __forceinline__ real to_real(float x) { return __float2bfloat16_rn(x); }
#elif defined(REAL_F16)
#include <cuda_fp16.h>
typedef __half real;
__device__ __forceinline__ float to_float(real x) { return __half2float(x); }
__device__ __forceinline__ real to_real(float x) { return __float2half_rn(x); }
#endif

// Dynamic shared memory of the block, as an array.
#if defined(LFNN_EMULATOR)
#define DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(::emulator::dynamic_shared())
#else
#define DYNAMIC_SHARED(type, name)                        \
    extern __shared__ __align__(16) u8 dynamic_shared[]; \
    type* const name = reinterpret_cast<type*>(dynamic_shared)
#endif

// Threads of the grid share the indices below n.
#define GRID_STRIDE(i, n) for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

#define FULL_MASK 0xFFFFFFFFu
#define POSITIVE_INFINITY __int_as_float(0x7F800000)

// As many elements as one access of 16 bytes moves.
constexpr u32 PACK = 16 / sizeof(real);
struct __align__(16) Pack {
    real values[PACK];
};

// y[i] = f(x[i]...) for all i < n, 16 bytes at a time.
template <class F, class... X> __device__ __forceinline__ void map(u32 n, real* y, F f, const X*... x) {
    u32 packs = n / PACK;
    GRID_STRIDE(p, packs) {
        Pack out;
        // The packs are loaded before the first is used, so that the loads overlap.
        [&](const auto&... in) {
#pragma unroll
            for (u32 k = 0; k < PACK; ++k) out.values[k] = to_real(f(p * PACK + k, to_float(in.values[k])...));
        }(reinterpret_cast<const Pack*>(x)[p]...);
        reinterpret_cast<Pack*>(y)[p] = out;
    }
    u32 tail = packs * PACK + blockIdx.x * blockDim.x + threadIdx.x;
    if (tail < n) y[tail] = to_real(f(tail, to_float(x[tail])...));
}

// V consecutive elements, moved at once: 1, or as many as fit 16 bytes.
template <u32 V> struct __align__(V * sizeof(real)) Vector {
    real values[V];
};

template <u32 V> __device__ __forceinline__ void load(const real* place, float (&out)[V]) {
    Vector<V> in = *reinterpret_cast<const Vector<V>*>(place);
#pragma unroll
    for (u32 k = 0; k < V; ++k) out[k] = to_float(in.values[k]);
}

template <u32 V> __device__ __forceinline__ void store(real* place, const float (&in)[V]) {
    Vector<V> out;
#pragma unroll
    for (u32 k = 0; k < V; ++k) out.values[k] = to_real(in[k]);
    *reinterpret_cast<Vector<V>*>(place) = out;
}

// Division by a number that the host has prepared: for n < 2^31.
struct Divide {
    u32 divisor, multiplier, shift;

    __device__ __forceinline__ u32 operator()(u32 n) const { return multiplier ? __umulhi(n, multiplier) >> shift : n; }
};

// ---- Sums ----

struct Plus {
    template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a + b; }
};
struct Largest {
    __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Joins the values of groups of `lanes` lanes, a power of two; every lane gets the result. All lanes of the
// warp take part.
template <class T, class F> __device__ __forceinline__ T join_lanes(T value, u32 lanes, F join) {
    for (u32 offset = lanes / 2; offset > 0; offset /= 2) {
        value = join(value, __shfl_xor_sync(FULL_MASK, value, offset));
    }
    return value;
}

// The sum over a block of at most 1024 threads, whole warps; thread 0 gets it. `space` has room for 32.
template <class T> __device__ __forceinline__ T block_sum(T value, T* space) {
    u32 thread = threadIdx.x + blockDim.x * threadIdx.y, threads = blockDim.x * blockDim.y;
    value = join_lanes(value, 32, Plus());
    __syncthreads();
    if (thread % 32 == 0) space[thread / 32] = value;
    __syncthreads();
    if (thread < 32) {
        value = thread < threads / 32 ? space[thread] : T(0);
        value = join_lanes(value, 32, Plus());
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

// Sums over y; the threads with y = 0 get them. `space` has room for one value of each thread of the block.
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

// A matrix [rows, channels] gone through by columns. A thread has `vector` consecutive channels and every
// blockDim.y-th row of its block's rows; the blocks of one blockIdx.x share their channels. Chosen by
// plan/columns.rs.
struct Columns {
    u32 rows;
    u32 channels;
    // Rows of a block.
    u32 chunk;
    // Channels of a thread: 1, or PACK.
    u32 vector;

    __device__ __forceinline__ u32 channel() const { return (blockIdx.x * blockDim.x + threadIdx.x) * vector; }
    __device__ __forceinline__ u32 first() const { return blockIdx.y * chunk + threadIdx.y; }
    __device__ __forceinline__ u32 end() const { return min(rows, (blockIdx.y + 1) * chunk); }
};

// Threads of a block that goes through columns, at most.
#define COLUMN_THREADS 256

// ---- The clock: positions in it, see lfnn_core::program::clock ----

#define CLOCK_SEED_LOW 0
#define CLOCK_SEED_HIGH 1
#define CLOCK_EPOCH 2
#define CLOCK_STEP 3
#define CLOCK_TIME 4
#define CLOCK_COUNT 5

// How many rows of a batch hold examples.
__device__ __forceinline__ u32 valid_rows(const u32* clock, u32 batch) {
    u64 first = (u64)clock[CLOCK_STEP] * batch, count = clock[CLOCK_COUNT];
    return first >= count ? 0 : (u32)(count - first < batch ? count - first : batch);
}

// ---- Loss scaling: see plan/scale.rs ----

// The scale of a loss in half precision. All zeros are the state in which it begins.
struct LossScale {
    // A power of two; 0 stands for the first one, see `Scaling`.
    float scale;
    // Steps since it last changed.
    u32 good;
    // Whether a gradient of this step is not finite.
    u32 overflow;
    u32 unused;
};

// A loss with its scale, or none: `Scaling` of plan/scale.rs.
struct Scaling {
    LossScale* state;
    // The scale with which an epoch begins.
    float first;
    u32 unused;

    __device__ __forceinline__ float value() const {
        return !state ? 1.0f : state->scale == 0.0f ? first : state->scale;
    }
};

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

// Block `block` of a stream at a step of the clock's epoch.
__device__ __forceinline__ uint4 random_block(const u32* clock, u32 stream, u32 step, u32 block) {
    uint2 key = make_uint2(clock[CLOCK_SEED_LOW], clock[CLOCK_SEED_HIGH]);
    return philox(make_uint4(block, step, clock[CLOCK_EPOCH], stream), key);
}

__device__ __forceinline__ u32 word_of(uint4 block, u32 i) {
    return i == 0 ? block.x : i == 1 ? block.y : i == 2 ? block.z : block.w;
}

// A whole number below n.
__device__ __forceinline__ u32 below(u32 word, u32 n) { return __umulhi(word, n); }
