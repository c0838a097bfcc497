// Convolutions as products whose factors are read in place, channels last. Shared by the three of them.
//
// Images of a batch and their pixels are one axis, so small images fill tiles too. A fully connected layer is the
// convolution of an image of one pixel. Groups, parts of the inner axis (splits) and, for input gradients, phases of
// the stride are further blocks of one launch. The parts of a split axis leave partial sums, which a second launch adds
// in order.

// What a block computes.
struct Block {
    u32 row, column, group, split, phase;

    template <class Engine> static __device__ __forceinline__ Block of(const Geometry& g) {
        u32 rest = blockIdx.x;
        Block block;
        block.column = rest % g.column_tiles * Engine::COLUMNS;
        rest /= g.column_tiles;
        block.row = rest % g.row_tiles * Engine::ROWS;
        rest /= g.row_tiles;
        block.group = rest % g.groups;
        rest /= g.groups;
        block.split = rest % g.splits;
        block.phase = rest / g.splits;
        return block;
    }
};

// A row or column of a gathered factor: where its image begins, the pixel that the first tap sees, and where its
// result goes.
struct __align__(16) Position {
    u32 base;
    int row, column;
    u32 out;
};
static_assert(sizeof(Position) == POSITION_BYTES, "the host makes room for tables");
// A pixel outside every image, and a result that is not there.
#define OUTSIDE (-(1 << 30))
#define NOWHERE 0xFFFFFFFFu

// Rows of an unrolled image: positions of the block's table by taps and channels. A tap moves by +1 or -1 pixel.
template <int DIRECTION> struct Taps {
    const act_t* any;
    const Position* table;
    u32 height, width, stride, inner_extent, depth;
    Divide by_depth, by_taps;

    struct Inner {
        u32 offset;
        int row, column;
    };
    __device__ __forceinline__ Inner inner(u32 k) const {
        if (k >= inner_extent) return Inner{0, OUTSIDE, 0};
        u32 tap = divide(k, by_depth), i = divide(tap, by_taps);
        return Inner{k - tap * depth, DIRECTION * (int)i, DIRECTION * (int)(tap - i * by_taps.divisor)};
    }
    __device__ __forceinline__ const act_t* at(const Inner& k, u32 outer) const {
        Position position = table[outer];
        u32 row = position.row + k.row, column = position.column + k.column;
        if (row >= height || column >= width) return nullptr;
        return any + (position.base + (row * width + column) * stride + k.offset);
    }
};

// Where sums go: parts to `parts`, a whole to its own address with the bias.
struct Results {
    const Position* table;
    const float* bias;
    act_t* whole;
    float* parts;
    u32 columns, first_column;
    bool pairs;

    __device__ __forceinline__ void one(u32 row, u32 column, float value) const {
        u32 at = table[row].out, c = first_column + column;
        if (at == NOWHERE || c >= columns) return;
        if (parts) {
            parts[at + c] = value;
        } else {
            whole[at + c] = to_act(bias ? value + bias[c] : value);
        }
    }
    __device__ __forceinline__ void two(u32 row, u32 column, float left, float right) const {
        u32 at = table[row].out, c = first_column + column;
        if (at == NOWHERE || c >= columns) return;
        if (!pairs) {
            one(row, column, left);
            one(row, column + 1, right);
        } else if (parts) {
            *reinterpret_cast<float2*>(parts + at + c) = make_float2(left, right);
        } else {
            if (bias) left += bias[c], right += bias[c + 1];
            float both[2] = {left, right};
            store<2>(whole + at + c, both);
        }
    }
};

// The same in half precision, by way of shared memory: threads have pairs of columns, a quarter of what one access to
// memory moves.
template <class Engine> struct Staged {
    // Lanes of eight rows meet different banks.
    static constexpr u32 ROW = Engine::COLUMNS + PACK, ELEMENTS = Engine::ROWS * ROW;
    act_t* tile;
    const float* bias;
    u32 columns, first_column;

    __device__ __forceinline__ void two(u32 row, u32 column, float left, float right) const {
        u32 c = first_column + column;
        // Columns are in whole packs, so that both are there or neither.
        if (bias && c < columns) left += bias[c], right += bias[c + 1];
        float both[2] = {left, right};
        store<2>(tile + row * ROW + column, both);
    }

    // Whole packs of the tile go to their rows of `whole`.
    __device__ __forceinline__ void flush(const Position* table, act_t* whole) const {
        constexpr u32 ACROSS = Engine::COLUMNS / PACK;
        for (u32 piece = threadIdx.x; piece < Engine::ROWS * ACROSS; piece += Engine::THREADS) {
            u32 row = piece / ACROSS, column = piece % ACROSS * PACK;
            u32 at = table[row].out, c = first_column + column;
            if (at == NOWHERE || c >= columns) continue;
            *reinterpret_cast<Pack*>(whole + at + c) = *reinterpret_cast<const Pack*>(tile + row * ROW + column);
        }
    }
};

// Writes the sums of a block that no longer needs its factors in `shared`. `channels` are those of the whole result.
template <bool A_INNER, bool B_INNER, class Engine>
__device__ __forceinline__ void write(const Engine& engine, act_t* shared, const Results& results, u32 channels) {
    if constexpr (sizeof(act_t) == 2) {
        using Through = Staged<Engine>;
        static_assert(Through::ELEMENTS <= Stages<Engine, A_INNER, B_INNER>::ELEMENTS,
                      "results fit where the factors were");
        if (!results.parts && channels % PACK == 0 && results.columns % PACK == 0) {
            Through staged = {shared, results.bias, results.columns, results.first_column};
            __syncthreads();
            engine.template results<A_INNER, B_INNER>(staged);
            __syncthreads();
            return staged.flush(results.table, results.whole);
        }
    }
    engine.template results<A_INNER, B_INNER>(results);
}

// The steps of a block's part of the inner axis.
__device__ __forceinline__ u32 first_step(const Geometry& g, const Block& block) { return block.split * g.steps; }
__device__ __forceinline__ u32 end_step(const Geometry& g, const Block& block, u32 inner) {
    return min(first_step(g, block) + g.steps, (inner + STEP - 1) / STEP);
}

// The sum of element i over the parts.
__device__ __forceinline__ float sum_parts(const float* __restrict__ parts, u32 i, u32 part, u32 splits) {
    float sum = 0.0f;
#pragma unroll 4
    for (u32 split = 0; split < splits; ++split) sum += parts[(size_t)split * part + i];
    return sum;
}
