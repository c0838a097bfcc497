// What products need of the hardware: asynchronous copies, matrices from shared memory, tensor cores.
//
// This is the one file with inline PTX. Each wrapper has a twin in plain C++ for the emulator: the results are the
// same but for the order of sums.

// Before compute capability 8.0 there are no asynchronous copies, and of the formats here tensor cores take f16 only:
// there are no kernels for TF32 and bf16 then.
#if defined(LFNN_EMULATOR) || __CUDA_ARCH__ < 800
#define PLAIN_COPIES 1
#endif
#if defined(LFNN_EMULATOR) || __CUDA_ARCH__ >= 800 || defined(ACT_F16)
#define TENSOR_CORES 1
#endif

// ---- Copies from global to shared memory ----

// Copies V elements, or zeros where there is no source. They have arrived after `wait_copies` and a barrier.
// `any` is a valid address.
template <u32 V> __device__ __forceinline__ void copy(act_t* shared, const act_t* global, const act_t* any) {
    constexpr u32 BYTES = V * sizeof(act_t);
#if defined(LFNN_EMULATOR)
    memset(shared, 0, BYTES);
    if (global) memcpy(shared, global, BYTES);
#else
    if constexpr (BYTES == 2) {
        // Too narrow for an asynchronous copy.
        *shared = global ? *global : to_act(0.0f);
        return;
    } else {
#if defined(PLAIN_COPIES)
        if constexpr (BYTES == 16) {
            *reinterpret_cast<uint4*>(shared) =
                global ? *reinterpret_cast<const uint4*>(global) : make_uint4(0, 0, 0, 0);
        } else {
            *reinterpret_cast<u32*>(shared) = global ? *reinterpret_cast<const u32*>(global) : 0;
        }
#else
        u32 to = (u32)__cvta_generic_to_shared(shared), bytes = global ? BYTES : 0;
        const act_t* from = global ? global : any;
        if constexpr (BYTES == 16) {
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
        } else {
            asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
        }
#endif
    }
#endif
}

// Closes a batch of copies.
__device__ __forceinline__ void commit_copies() {
#if !defined(PLAIN_COPIES)
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for all but the last N batches of this thread.
template <u32 N> __device__ __forceinline__ void wait_copies() {
#if !defined(PLAIN_COPIES)
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

// ---- Matrices ----

// Four matrices of 8 rows of 16 bytes: lane l names row l % 8 of matrix l / 8. Lane l gets word l % 4 of row l / 4
// of each.
__device__ __forceinline__ void load_matrices(u32 (&out)[4], const act_t* row) {
#if defined(LFNN_EMULATOR)
    u32 lane = threadIdx.x % 32;
    for (u32 matrix = 0; matrix < 4; ++matrix) {
        u64 place = __shfl_sync(FULL_MASK, (u64)row, matrix * 8 + lane / 4);
        memcpy(&out[matrix], (const u8*)place + lane % 4 * 4, 4);
    }
#else
    u32 place = (u32)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(place)
                 : "memory");
#endif
}

#if !defined(ACT_F32)
// As above, each matrix transposed: lane l gets elements l / 4 of rows 2 (l % 4) and 2 (l % 4) + 1.
__device__ __forceinline__ void load_transposed(u32 (&out)[4], const act_t* row) {
#if defined(LFNN_EMULATOR)
    u32 lane = threadIdx.x % 32;
    for (u32 matrix = 0; matrix < 4; ++matrix) {
        u64 low = __shfl_sync(FULL_MASK, (u64)row, matrix * 8 + lane % 4 * 2);
        u64 high = __shfl_sync(FULL_MASK, (u64)row, matrix * 8 + lane % 4 * 2 + 1);
        out[matrix] = ((const act_t*)low)[lane / 4].bits | (u32)((const act_t*)high)[lane / 4].bits << 16;
    }
#else
    u32 place = (u32)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(place)
                 : "memory");
#endif
}
#endif

// ---- Products ----

#if defined(TENSOR_CORES)

#if defined(ACT_F32)
// To TF32: 10 bits of mantissa, ties away from zero.
__device__ __forceinline__ u32 round_factor(u32 word) {
#if defined(LFNN_EMULATOR)
    return (word + 0x1000u) & ~0x1FFFu;
#else
    u32 rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(word)));
    return rounded;
#endif
}
#endif

#if defined(LFNN_EMULATOR)
// Element e of a word of factors.
__device__ __forceinline__ float factor(u32 word, u32 e) {
#if defined(ACT_F32)
    return __uint_as_float(word);
#elif defined(ACT_Bf16)
    return __uint_as_float(e ? word & 0xFFFF0000u : word << 16);
#else
    return to_float(act_t{(unsigned short)(word >> 16 * e)});
#endif
}
#endif

// c += a b by one warp: a [16, 32 bytes], b [32 bytes, 8], c [16, 8]. With g = lane / 4, t = lane % 4, a word holding
// one f32 or two 16-bit elements that are neighbours in the inner axis: a holds words t of rows g and g + 8, then words
// t + 4 of both; b holds words t and t + 4 of column g; c holds columns 2t and 2t + 1 of row g, then of row g + 8.
__device__ __forceinline__ void multiply_add(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if defined(LFNN_EMULATOR)
    u32 row = threadIdx.x % 32 / 4 * 4, column = threadIdx.x % 4 * 8;
    for (u32 t = 0; t < 4; ++t) {
        u64 a01 = __shfl_sync(FULL_MASK, (u64)a[1] << 32 | a[0], row + t);
        u64 a23 = __shfl_sync(FULL_MASK, (u64)a[3] << 32 | a[2], row + t);
        u64 left = __shfl_sync(FULL_MASK, (u64)b[1] << 32 | b[0], column + t);
        u64 right = __shfl_sync(FULL_MASK, (u64)b[1] << 32 | b[0], column + 4 + t);
        for (u32 e = 0; e < 4 / sizeof(act_t); ++e) {
            float l0 = factor((u32)left, e), l1 = factor((u32)(left >> 32), e);
            float r0 = factor((u32)right, e), r1 = factor((u32)(right >> 32), e);
            float a0 = factor((u32)a01, e), a1 = factor((u32)(a01 >> 32), e);
            float a2 = factor((u32)a23, e), a3 = factor((u32)(a23 >> 32), e);
            c[0] += a0 * l0 + a2 * l1;
            c[1] += a0 * r0 + a2 * r1;
            c[2] += a1 * l0 + a3 * l1;
            c[3] += a1 * r0 + a3 * r1;
        }
    }
#elif defined(ACT_F32)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(ACT_Bf16)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#endif
}
#endif
