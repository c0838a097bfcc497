// Who leads, and what the followers align with: for the kernels of leaders.cu and unit.cu.

// The place of worker `worker` among the `workers` errors of its net: how many come before it. Ties go to the
// smaller index, NaN counts as infinite.
__device__ __forceinline__ u32 rank_of(const float* errors, u32 workers, u32 worker) {
    float own = isnan(errors[worker]) ? POSITIVE_INFINITY : errors[worker];
    u32 rank = 0;
    for (u32 n = 0; n < workers; ++n) {
        float other = isnan(errors[n]) ? POSITIVE_INFINITY : errors[n];
        rank += other < own || (other == own && n < worker);
    }
    return rank;
}

// The `count` best workers of each net lead: errors, leaders [rows, nets, workers], best [rows, nets].
__device__ __forceinline__ void select_leaders_of(const float* errors, float* leaders, u32* best, u32 nets,
                                                  u32 workers, u32 count) {
    GRID_STRIDE(i, nets * workers) {
        u32 net = i / workers, worker = i % workers;
        u32 rank = rank_of(errors + net * workers, workers, worker);
        leaders[i] = rank < count ? 1.0f : 0.0f;
        if (rank == 0) best[net] = worker;
    }
}

// Leaders held for an epoch, and the sums of its errors. A block has a net.
__device__ __forceinline__ void epoch_leaders_of(const float* errors, const u32* clock, float* epoch_errors,
                                                 float* leaders, u32* best, u32 workers, u32 count) {
    u32 first = blockIdx.x * workers;
    bool selects = clock[CLOCK_STEP] == 0;
    if (selects) {
        const float* by = (clock[CLOCK_EPOCH] > 0 ? epoch_errors : errors) + first;
        for (u32 n = threadIdx.x; n < workers; n += blockDim.x) {
            u32 rank = rank_of(by, workers, n);
            leaders[first + n] = rank < count ? 1.0f : 0.0f;
            if (rank == 0) best[blockIdx.x] = n;
        }
    }
    // The sums are read by all before any is set anew.
    __syncthreads();
    for (u32 n = threadIdx.x; n < workers; n += blockDim.x) {
        epoch_errors[first + n] = (selects ? 0.0f : epoch_errors[first + n]) + errors[first + n];
    }
}

// The rules, in the order of plan/leaders.rs.
#define BEST 0
#define RANDOM 1

// `Target` of plan/leaders.rs.
struct Target {
    u32 batch, nets, workers, width;
    u32 leader_rows, rule, stream;
};

// The i-th leader.
__device__ __forceinline__ u32 leader_at(const float* roles, u32 workers, u32 i) {
    for (u32 n = 0; n < workers; ++n) {
        if (roles[n] != 0.0f && i-- == 0) return n;
    }
    return 0;
}

// reference [batch, nets, width] from value [batch, nets, workers, width].
__device__ __forceinline__ void alignment_target_of(const real* value, const float* leaders, const u32* best,
                                                    const u32* clock, real* reference, Target t) {
    GRID_STRIDE(i, t.batch * t.nets * t.width) {
        u32 k = i % t.width, of_net = i / t.width;
        u32 chosen = t.leader_rows == 1 ? of_net % t.nets : of_net;
        const float* roles = leaders + chosen * t.workers;
        const real* values = value + of_net * t.workers * t.width + k;
        if (t.rule == BEST) {
            reference[i] = values[best[chosen] * t.width];
            continue;
        }
        u32 count = 0;
        float sum = 0.0f;
        for (u32 n = 0; n < t.workers; ++n) {
            if (roles[n] != 0.0f) {
                ++count;
                sum += to_float(values[n * t.width]);
            }
        }
        if (t.rule == RANDOM) {
            u32 word = word_of(random_block(clock, t.stream, clock[CLOCK_STEP], chosen / 4), chosen % 4);
            reference[i] = values[leader_at(roles, t.workers, below(word, count)) * t.width];
        } else {
            reference[i] = to_real(sum / (float)count);
        }
    }
}
