// The types of every kernel file.
//
// `act_t` is how activations and their gradients are stored: f32, bf16 or f16. All arithmetic is in f32;
// `to_float` and `to_act` convert. Tensors begin at multiples of 64 bytes and have fewer than 2^31 elements.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#if defined(ACT_F32)
typedef float act_t;
__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_act(float x) { return x; }
#elif defined(LFNN_EMULATOR)
// The two formats of 16 bits, converted by hand: rounding to nearest, ties to even.
struct act_t {
    unsigned short bits;
};
#if defined(ACT_Bf16)
__device__ __forceinline__ float to_float(act_t x) { return __uint_as_float((u32)x.bits << 16); }
__device__ __forceinline__ act_t to_act(float x) {
    u32 bits = __float_as_uint(x);
    if (x != x) return act_t{(unsigned short)(bits >> 16 | 0x40)};
    return act_t{(unsigned short)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}
#else
__device__ __forceinline__ float to_float(act_t x) {
    u32 sign = (u32)(x.bits & 0x8000) << 16, exponent = x.bits >> 10 & 31, fraction = x.bits & 0x3FF;
    if (exponent == 31) return __uint_as_float(sign | 0x7F800000 | fraction << 13);
    float magnitude = exponent ? ldexpf((float)(fraction | 0x400), (int)exponent - 25) : ldexpf((float)fraction, -24);
    return sign ? -magnitude : magnitude;
}
__device__ __forceinline__ act_t to_act(float x) {
    unsigned short sign = (unsigned short)(__float_as_uint(x) >> 16 & 0x8000);
    if (x != x) return act_t{(unsigned short)(sign | 0x7E00)};
    float magnitude = fabsf(x);
    if (magnitude == 0.0f) return act_t{sign};
    if (magnitude >= 65520.0f) return act_t{(unsigned short)(sign | 0x7C00)};
    // The unit in the last place of the result; `rintf` rounds to even.
    int exponent = 0;
    frexpf(magnitude, &exponent);
    int unit = max(exponent - 11, -24);
    u32 count = (u32)rintf(ldexpf(magnitude, -unit));
    u32 bits = unit == -24 ? count : count + ((u32)(unit + 24) << 10);
    return act_t{(unsigned short)(sign | bits)};
}
#endif
#elif defined(ACT_Bf16)
#include <cuda_bf16.h>
typedef __nv_bfloat16 act_t;
__device__ __forceinline__ float to_float(act_t x) { return __bfloat162float(x); }
__device__ __forceinline__ act_t to_act(float x) { return __float2bfloat16_rn(x); }
#elif defined(ACT_F16)
#include <cuda_fp16.h>
typedef __half act_t;
__device__ __forceinline__ float to_float(act_t x) { return __half2float(x); }
__device__ __forceinline__ act_t to_act(float x) { return __float2half_rn(x); }
#endif

// Dynamic shared memory of the block, as an array.
#if defined(LFNN_EMULATOR)
#define DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(::emulator::dynamic_shared())
#else
#define DYNAMIC_SHARED(type, name)                        \
    extern __shared__ __align__(16) u8 dynamic_shared[]; \
    type* const name = reinterpret_cast<type*>(dynamic_shared)
#endif
