// Tiles of products: how a block multiplies two tiles in shared memory, with and without tensor cores, and the loop
// that keeps copies ahead of the arithmetic. What the factors are is in conv.cu.
//
// A tile of a factor has an outer axis (rows of a, columns of b) and the inner one, which is summed over. It is stored
// in shared memory as in global memory: with the inner axis contiguous, or the outer one. Rows are padded so that lanes
// meet different banks.

// Elements of the inner axis in one step.
constexpr u32 STEP = STEP_BYTES / sizeof(act_t);

template <bool INNER, u32 EXTENT> struct Tile {
    // An odd number of packs spreads the rows of `load_matrices` over all banks; 2 more than a multiple of 4 does so
    // for f32 elements that are read one by one.
    static constexpr u32 OUTER_PACKS = sizeof(act_t) == 4 ? EXTENT / PACK + (6 - EXTENT / PACK % 4) % 4 : EXTENT / PACK | 1;
    // Elements from one row to the next.
    static constexpr u32 ROW = (INNER ? STEP / PACK + 1 : OUTER_PACKS) * PACK;
    static constexpr u32 ELEMENTS = (INNER ? EXTENT : STEP) * ROW;
};

#if defined(ACT_F32)
// Threads with T_ROWS x T_COLUMNS sums each, in f32.
template <u32 BLOCK_ROWS, u32 BLOCK_COLUMNS, u32 T_ROWS, u32 T_COLUMNS> struct Scalar {
    static constexpr u32 ROWS = BLOCK_ROWS, COLUMNS = BLOCK_COLUMNS;
    static constexpr u32 DOWN = ROWS / T_ROWS, ACROSS = COLUMNS / T_COLUMNS, THREADS = DOWN * ACROSS;
    float sums[T_ROWS][T_COLUMNS];

    // The thread's i-th of T rows (or columns): fours together where they are contiguous in memory.
    template <bool INNER, u32 T, u32 LANES> static __device__ __forceinline__ u32 outer(u32 lane, u32 i) {
        return INNER || T % 4 ? lane + i * LANES : i / 4 * 4 * LANES + lane * 4 + i % 4;
    }

    // One step of the inner axis for the outer positions of this thread.
    template <u32 T, u32 LANES, u32 EXTENT>
    static __device__ __forceinline__ void line(const act_t* tile, u32 k, u32 lane, float (&out)[T]) {
        const act_t* row = tile + k * Tile<false, EXTENT>::ROW;
        if constexpr (T % 4 == 0) {
#pragma unroll
            for (u32 i = 0; i < T; i += 4) {
                float4 four = *reinterpret_cast<const float4*>(row + outer<false, T, LANES>(lane, i));
                out[i] = four.x, out[i + 1] = four.y, out[i + 2] = four.z, out[i + 3] = four.w;
            }
        } else {
            UNROLL(i, T) out[i] = row[outer<false, T, LANES>(lane, i)];
        }
    }

    __device__ __forceinline__ void clear() {
        UNROLL(i, T_ROWS) UNROLL(j, T_COLUMNS) sums[i][j] = 0.0f;
    }

    template <bool A_INNER, bool B_INNER> __device__ __forceinline__ void multiply(const act_t* a, const act_t* b) {
        static_assert(A_INNER || !B_INNER, "no product is of this kind");
        u32 down = threadIdx.x / ACROSS, across = threadIdx.x % ACROSS;
#pragma unroll
        for (u32 k = 0; k < STEP; k += 4) {
            if constexpr (!A_INNER) {
                UNROLL(e, 4) {
                    float left[T_ROWS], right[T_COLUMNS];
                    line<T_ROWS, DOWN, ROWS>(a, k + e, down, left);
                    line<T_COLUMNS, ACROSS, COLUMNS>(b, k + e, across, right);
                    UNROLL(i, T_ROWS) UNROLL(j, T_COLUMNS) sums[i][j] += left[i] * right[j];
                }
                continue;
            }
            float4 left[T_ROWS];
            UNROLL(i, T_ROWS) {
                u32 row = outer<true, T_ROWS, DOWN>(down, i);
                left[i] = *reinterpret_cast<const float4*>(a + row * Tile<true, ROWS>::ROW + k);
            }
            if constexpr (B_INNER) {
                UNROLL(j, T_COLUMNS) {
                    u32 column = outer<true, T_COLUMNS, ACROSS>(across, j);
                    float4 right = *reinterpret_cast<const float4*>(b + column * Tile<true, COLUMNS>::ROW + k);
                    UNROLL(i, T_ROWS) {
                        sums[i][j] += left[i].x * right.x;
                        sums[i][j] += left[i].y * right.y;
                        sums[i][j] += left[i].z * right.z;
                        sums[i][j] += left[i].w * right.w;
                    }
                }
            } else {
                UNROLL(e, 4) {
                    float right[T_COLUMNS];
                    line<T_COLUMNS, ACROSS, COLUMNS>(b, k + e, across, right);
                    UNROLL(i, T_ROWS) {
                        float x = e == 0 ? left[i].x : e == 1 ? left[i].y : e == 2 ? left[i].z : left[i].w;
                        UNROLL(j, T_COLUMNS) sums[i][j] += x * right[j];
                    }
                }
            }
        }
    }

    // Threads that have sums of one column, and which of them this one is.
    static constexpr u32 LINES = DOWN;
    static __device__ __forceinline__ u32 line() { return threadIdx.x / ACROSS; }

    // sum = f(column, sum).
    template <bool B_INNER, class F> __device__ __forceinline__ void change(const F& f) {
        u32 across = threadIdx.x % ACROSS;
        UNROLL(j, T_COLUMNS) {
            u32 column = outer<B_INNER, T_COLUMNS, ACROSS>(across, j);
            UNROLL(i, T_ROWS) sums[i][j] = f(column, sums[i][j]);
        }
    }

    // Gives to `out` each column of this thread and the total of f(row, column, sum) over the thread's rows.
    template <bool A_INNER, bool B_INNER, class F, class Out>
    __device__ __forceinline__ void by_columns(const F& f, const Out& out) const {
        u32 down = threadIdx.x / ACROSS, across = threadIdx.x % ACROSS;
        UNROLL(j, T_COLUMNS) {
            u32 column = outer<B_INNER, T_COLUMNS, ACROSS>(across, j);
            float total = 0.0f;
            UNROLL(i, T_ROWS) total += f(outer<A_INNER, T_ROWS, DOWN>(down, i), column, sums[i][j]);
            out(column, total);
        }
    }

    // Gives each sum with its row and column to `out`.
    template <bool A_INNER, bool B_INNER, class Out> __device__ __forceinline__ void results(const Out& out) const {
        u32 down = threadIdx.x / ACROSS, across = threadIdx.x % ACROSS;
        UNROLL(i, T_ROWS) {
            u32 row = outer<A_INNER, T_ROWS, DOWN>(down, i);
            UNROLL(j, T_COLUMNS) {
                out.one(row, outer<B_INNER, T_COLUMNS, ACROSS>(across, j), sums[i][j]);
            }
        }
    }
};
#endif

#if defined(TENSOR_CORES)
// Warps on tensor cores, W_ROWS x W_COLUMNS of them. f32 is rounded to TF32.
template <u32 BLOCK_ROWS, u32 BLOCK_COLUMNS, u32 W_ROWS, u32 W_COLUMNS> struct Tensor {
    static constexpr u32 ROWS = BLOCK_ROWS, COLUMNS = BLOCK_COLUMNS, THREADS = 32 * W_ROWS * W_COLUMNS;
    // Rows and columns of a warp, and how many fragments they are.
    static constexpr u32 DOWN = ROWS / W_ROWS, ACROSS = COLUMNS / W_COLUMNS;
    static constexpr u32 M = DOWN / 16, N = ACROSS / 8;
    static_assert(M * 16 == DOWN && N * 8 == ACROSS, "fragments fill the warp's part");
    float sums[M][N][4];

    static __device__ __forceinline__ u32 first_row() { return threadIdx.x / 32 / W_COLUMNS * DOWN; }
    static __device__ __forceinline__ u32 first_column() { return threadIdx.x / 32 % W_COLUMNS * ACROSS; }

    __device__ __forceinline__ void clear() {
        UNROLL(i, M) UNROLL(j, N) sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
    }

    // 16 rows of a from `row`, 32 bytes of the inner axis from k.
    template <bool INNER> static __device__ __forceinline__ void load_a(u32 (&out)[4], const act_t* a, u32 row, u32 k) {
        constexpr u32 LINE = Tile<INNER, ROWS>::ROW;
        u32 lane = threadIdx.x % 32;
        if constexpr (INNER) {
            load_matrices(out, a + (row + lane % 16) * LINE + k + lane / 16 * PACK);
        } else {
#if defined(ACT_F32)
            const act_t* first = a + (k + lane % 4) * LINE + row + lane / 4;
            out[0] = __float_as_uint(first[0]);
            out[1] = __float_as_uint(first[8]);
            out[2] = __float_as_uint(first[4 * LINE]);
            out[3] = __float_as_uint(first[4 * LINE + 8]);
#else
            load_transposed(out, a + (k + lane % 8 + lane / 16 * 8) * LINE + row + lane / 8 % 2 * 8);
#endif
        }
    }

    // As many columns of b from `column` as two fragments have; the second is empty if there is but one.
    template <bool INNER>
    static __device__ __forceinline__ void load_b(u32 (&out)[4], const act_t* b, u32 column, u32 k, bool two) {
        constexpr u32 LINE = Tile<INNER, COLUMNS>::ROW;
        u32 lane = threadIdx.x % 32, second = two ? lane / 16 * 8 : 0;
        if constexpr (INNER) {
            load_matrices(out, b + (column + lane % 8 + second) * LINE + k + lane / 8 % 2 * PACK);
        } else {
#if defined(ACT_F32)
            const act_t* first = b + (k + lane % 4) * LINE + column + lane / 4;
            out[0] = __float_as_uint(first[0]);
            out[1] = __float_as_uint(first[4 * LINE]);
            out[2] = two ? __float_as_uint(first[8]) : 0;
            out[3] = two ? __float_as_uint(first[4 * LINE + 8]) : 0;
#else
            load_transposed(out, b + (k + lane % 16) * LINE + column + second);
#endif
        }
    }

    template <bool A_INNER, bool B_INNER> __device__ __forceinline__ void multiply(const act_t* a, const act_t* b) {
#pragma unroll
        for (u32 k = 0; k < STEP; k += 2 * PACK) {
            u32 left[M][4], right[(N + 1) / 2][4];
            UNROLL(i, M) load_a<A_INNER>(left[i], a, first_row() + i * 16, k);
#pragma unroll
            for (u32 j = 0; j < N; j += 2) load_b<B_INNER>(right[j / 2], b, first_column() + j * 8, k, j + 1 < N);
#if defined(ACT_F32)
            UNROLL(e, 4) {
                UNROLL(i, M) left[i][e] = round_factor(left[i][e]);
                UNROLL(j, (N + 1) / 2) right[j][e] = round_factor(right[j][e]);
            }
#endif
            UNROLL(i, M) {
                UNROLL(j, N) {
                    u32 two[2] = {right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]};
                    multiply_add(sums[i][j], left[i], two);
                }
            }
        }
    }

    // As of `Scalar`.
    static constexpr u32 LINES = 8 * W_ROWS;
    static __device__ __forceinline__ u32 line() { return threadIdx.x / 32 / W_COLUMNS * 8 + threadIdx.x % 32 / 4; }

    template <bool B_INNER, class F> __device__ __forceinline__ void change(const F& f) {
        u32 column = first_column() + threadIdx.x % 4 * 2;
        UNROLL(i, M) UNROLL(j, N) UNROLL(e, 4) sums[i][j][e] = f(column + j * 8 + e % 2, sums[i][j][e]);
    }

    template <bool A_INNER, bool B_INNER, class F, class Out>
    __device__ __forceinline__ void by_columns(const F& f, const Out& out) const {
        u32 lane = threadIdx.x % 32, row = first_row() + lane / 4, column = first_column() + lane % 4 * 2;
        UNROLL(j, N) {
            UNROLL(e, 2) {
                u32 c = column + j * 8 + e;
                float total = 0.0f;
                UNROLL(i, M) {
                    total += f(row + i * 16, c, sums[i][j][e]);
                    total += f(row + i * 16 + 8, c, sums[i][j][e + 2]);
                }
                out(c, total);
            }
        }
    }

    template <bool A_INNER, bool B_INNER, class Out> __device__ __forceinline__ void results(const Out& out) const {
        u32 lane = threadIdx.x % 32, row = first_row() + lane / 4, column = first_column() + lane % 4 * 2;
        UNROLL(i, M) {
            UNROLL(j, N) {
                out.two(row + i * 16, column + j * 8, sums[i][j][0], sums[i][j][1]);
                out.two(row + i * 16 + 8, column + j * 8, sums[i][j][2], sums[i][j][3]);
            }
        }
    }
};
#endif

// Copies a step of a factor into its tile, V elements at once. A source says where elements are: `inner` prepares a
// position of the inner axis, `at` gives the address of an element at one and an outer position, or null for zero.
template <bool INNER, u32 EXTENT, u32 V, u32 THREADS, class Source>
__device__ __forceinline__ void copy_tile(act_t* tile, u32 k, const Source& source) {
    constexpr u32 ROW = Tile<INNER, EXTENT>::ROW;
    // Wide copies are few: all of a thread's are written out, and their addresses found side by side.
    constexpr u32 COPIES = V == 1 ? 4 : 16;
    if constexpr (INNER) {
        constexpr u32 ACROSS = STEP / V, DOWN = THREADS / ACROSS;
        static_assert(THREADS % ACROSS == 0, "a thread keeps its inner position");
        u32 offset = threadIdx.x % ACROSS * V, first = threadIdx.x / ACROSS;
        auto inner = source.inner(k + offset);
#pragma unroll COPIES
        for (u32 next = 0; next < EXTENT; next += DOWN) {
            u32 row = first + next;
            if (EXTENT % DOWN != 0 && row >= EXTENT) break;
            copy<V>(tile + row * ROW + offset, source.at(inner, row), source.any);
        }
    } else {
        constexpr u32 ACROSS = EXTENT / V, PIECES = STEP * ACROSS;
#pragma unroll COPIES
        for (u32 next = 0; next < PIECES; next += THREADS) {
            u32 piece = threadIdx.x + next;
            if (PIECES % THREADS != 0 && piece >= PIECES) break;
            u32 row = piece / ACROSS, outer = piece % ACROSS * V;
            copy<V>(tile + row * ROW + outer, source.at(source.inner(k + row), outer), source.any);
        }
    }
}

// The tiles of a product in shared memory: plan/product.rs computes the same.
template <class Engine, bool A_INNER, bool B_INNER> struct Stages {
    static constexpr u32 A = Tile<A_INNER, Engine::ROWS>::ELEMENTS;
    // Of one step, and of all.
    static constexpr u32 STEP_ELEMENTS = A + Tile<B_INNER, Engine::COLUMNS>::ELEMENTS;
    static constexpr u32 ELEMENTS = STAGES * STEP_ELEMENTS;
    // Every chip gives a block 64 KiB; the table takes two.
    static_assert(ELEMENTS * sizeof(act_t) <= 62 * 1024, "tiles and table fit every chip");
};

// Multiplies steps first .. end of the factors. `seen` looks at each tile of a when it has arrived.
template <bool A_INNER, bool B_INNER, u32 VA, u32 VB, class Engine, class A, class B, class Seen>
__device__ __forceinline__ void multiply_steps(Engine& engine, act_t* shared, u32 first, u32 end, const A& a, const B& b,
                                               Seen seen) {
    using Layout = Stages<Engine, A_INNER, B_INNER>;
    constexpr u32 THREADS = Engine::THREADS;
    auto fetch = [&](u32 step, u32 stage) {
        act_t* tile = shared + stage * Layout::STEP_ELEMENTS;
        if (step < end) {
            copy_tile<A_INNER, Engine::ROWS, VA, THREADS>(tile, step * STEP, a);
            copy_tile<B_INNER, Engine::COLUMNS, VB, THREADS>(tile + Layout::A, step * STEP, b);
        }
        commit_copies();
    };
#pragma unroll
    for (u32 stage = 0; stage + 1 < STAGES; ++stage) fetch(first + stage, stage);
    u32 stage = 0;
    for (u32 step = first; step < end; ++step) {
        // This step has arrived for all threads, and all are done with the one before: its place is free.
        wait_copies<STAGES - 2>();
        __syncthreads();
        fetch(step + STAGES - 1, stage == 0 ? STAGES - 1 : stage - 1);
        const act_t* tile = shared + stage * Layout::STEP_ELEMENTS;
        seen(tile);
        engine.template multiply<A_INNER, B_INNER>(tile, tile + Layout::A);
        stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
}
