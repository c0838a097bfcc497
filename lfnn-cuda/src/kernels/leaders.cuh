// The choice of leaders, and what the followers align with: for the kernels of leaders.cu and unit.cu.

// The place of worker `worker` among the `workers` losses of its classifier: how many come before it. Ties go to the
// smaller index, NaN counts as infinite.
__device__ __forceinline__ u32 rank_of(const float* losses, u32 workers, u32 worker) {
    float own = isnan(losses[worker]) ? POSITIVE_INFINITY : losses[worker];
    u32 rank = 0;
    for (u32 n = 0; n < workers; ++n) {
        float other = isnan(losses[n]) ? POSITIVE_INFINITY : losses[n];
        rank += other < own || (other == own && n < worker);
    }
    return rank;
}

// The `count` best workers of each classifier lead: losses, leaders [rows, classifiers, workers],
// best [rows, classifiers].
__device__ __forceinline__ void select_leaders_of(const float* losses, float* leaders, u32* best, u32 classifiers,
                                                  u32 workers, u32 count) {
    GRID_STRIDE(i, classifiers * workers) {
        u32 classifier = i / workers, worker = i % workers;
        u32 rank = rank_of(losses + classifier * workers, workers, worker);
        leaders[i] = rank < count ? 1.0f : 0.0f;
        if (rank == 0) best[classifier] = worker;
    }
}

// Leaders held for an epoch, and the sums of its losses. A block has a classifier.
__device__ __forceinline__ void epoch_leaders_of(const float* losses, const u32* counter, float* epoch_losses,
                                                 float* leaders, u32* best, u32 workers, u32 count) {
    u32 first = blockIdx.x * workers;
    bool selects = counter[COUNTER_STEP] == 0;
    if (selects) {
        const float* by = (counter[COUNTER_EPOCH] > 0 ? epoch_losses : losses) + first;
        for (u32 n = threadIdx.x; n < workers; n += blockDim.x) {
            u32 rank = rank_of(by, workers, n);
            leaders[first + n] = rank < count ? 1.0f : 0.0f;
            if (rank == 0) best[blockIdx.x] = n;
        }
    }
    // The sums are read by all before any is set anew.
    __syncthreads();
    for (u32 n = threadIdx.x; n < workers; n += blockDim.x) {
        epoch_losses[first + n] = (selects ? 0.0f : epoch_losses[first + n]) + losses[first + n];
    }
}

// The i-th leader.
__device__ __forceinline__ u32 leader_at(const float* roles, u32 workers, u32 i) {
    for (u32 n = 0; n < workers; ++n) {
        if (roles[n] != 0.0f && i-- == 0) return n;
    }
    return 0;
}

// reference [batch, classifiers, classes] from value [batch, classifiers, workers, classes].
__device__ __forceinline__ void alignment_target_of(const act_t* value, const float* leaders, const u32* best,
                                                    const u32* counter, act_t* reference, Target t) {
    GRID_STRIDE(i, t.batch * t.classifiers * t.classes) {
        u32 k = i % t.classes, of_classifier = i / t.classes;
        u32 chosen = t.leader_rows == 1 ? of_classifier % t.classifiers : of_classifier;
        const float* roles = leaders + chosen * t.workers;
        const act_t* values = value + of_classifier * t.workers * t.classes + k;
        if (t.rule == BEST) {
            reference[i] = values[best[chosen] * t.classes];
            continue;
        }
        u32 count = 0;
        float sum = 0.0f;
        for (u32 n = 0; n < t.workers; ++n) {
            if (roles[n] != 0.0f) {
                ++count;
                sum += to_float(values[n * t.classes]);
            }
        }
        if (t.rule == RANDOM) {
            u32 word = word_of(random_block(counter, t.stream, counter[COUNTER_STEP], chosen / 4), chosen % 4);
            reference[i] = values[leader_at(roles, t.workers, below(word, count)) * t.classes];
        } else {
            reference[i] = to_act(sum / (float)count);
        }
    }
}
