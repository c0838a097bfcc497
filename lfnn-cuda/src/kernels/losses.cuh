// Losses of workers, the losses that are minimised and their gradients: for the kernels of losses.cu and unit.cu.

__device__ __forceinline__ u32 predictors(const Predictions& h) { return h.classifiers * h.workers; }

// t of binary cross-entropy.
__device__ __forceinline__ float binary_target(const Predictions& h, u32 classifier, u32 label) {
    bool positive = label == (h.one_vs_all ? classifier : 1);
    return (positive ? 1.0f - h.smoothing : 0.0f) + 0.5f * h.smoothing;
}

// The factor on the loss of an example with a label: without labels `values` are real targets, with labels the weights
// of their classes, if there are any.
__device__ __forceinline__ float class_weight(const u32* labels, const float* values, u32 example) {
    return values == nullptr ? 1.0f : values[labels[example]];
}

// Outputs and losses of all predictions: z, output [batch, predictors, classes], losses [batch, predictors].
__device__ __forceinline__ void worker_loss_of(const act_t* z, const u32* labels, const float* values, act_t* output,
                                                 float* losses, Predictions h) {
    u32 lane = threadIdx.x % h.lanes, groups = blockDim.x / h.lanes, predictions = h.batch * predictors(h);
    // Whole warps go on together, because their lanes exchange values.
    for (u32 first = blockIdx.x * groups; first < predictions; first += gridDim.x * groups) {
        u32 i = first + threadIdx.x / h.lanes;
        bool inside = i < predictions;
        u32 at = i * h.classes, example = i / predictors(h), classifier = i % predictors(h) / h.workers;
        float loss = 0.0f;
        if (h.loss == CROSS_ENTROPY) {
            float largest = -POSITIVE_INFINITY, sum = 0.0f, logits = 0.0f;
            for (u32 k = lane; inside && k < h.classes; k += h.lanes) largest = fmaxf(largest, to_float(z[at + k]));
            largest = reduce_lanes(largest, h.lanes, Largest());
            for (u32 k = lane; inside && k < h.classes; k += h.lanes) {
                sum += expf(to_float(z[at + k]) - largest);
                logits += to_float(z[at + k]) - largest;
            }
            sum = reduce_lanes(sum, h.lanes, Plus());
            logits = reduce_lanes(logits, h.lanes, Plus());
            float share = 1.0f / sum;
            for (u32 k = lane; inside && k < h.classes; k += h.lanes) {
                output[at + k] = to_act(expf(to_float(z[at + k]) - largest) * share);
            }
            if (inside && lane == 0) {
                float log_sum = logf(sum);
                loss = log_sum - (to_float(z[at + labels[example]]) - largest);
                if (h.smoothing != 0.0f) {
                    float of_all = log_sum - logits / (float)h.classes;
                    loss = (1.0f - h.smoothing) * loss + h.smoothing * of_all;
                }
                loss *= class_weight(labels, values, example);
            }
        } else if (h.loss == BINARY) {
            if (inside && lane == 0) {
                float logit = to_float(z[at]);
                output[at] = to_act(1.0f / (1.0f + expf(-logit)));
                float t = binary_target(h, classifier, labels[example]);
                loss = fmaxf(logit, 0.0f) - t * logit + log1pf(expf(-fabsf(logit)));
                loss *= class_weight(labels, values, example);
            }
        } else {
            for (u32 k = lane; inside && k < h.classes; k += h.lanes) {
                float prediction = to_float(z[at + k]);
                output[at + k] = to_act(prediction);
                float difference = prediction - values[(example * h.classifiers + classifier) * h.classes + k];
                loss += difference * difference;
            }
            loss = reduce_lanes(loss, h.lanes, Plus()) / (float)h.classes;
        }
        if (inside && lane == 0) losses[i] = loss;
    }
}

// Sets `nonfinite` to 1 + the first of the means that is not finite, unless it is set. One block does this.
__device__ __forceinline__ void watch(const float* mean, u32* nonfinite, u32 predictors) {
    __shared__ u32 first;
    u32 thread = threadIdx.y * blockDim.x + threadIdx.x;
    if (thread == 0) first = predictors;
    __syncthreads();
    for (u32 n = thread; n < predictors; n += blockDim.x * blockDim.y) {
        if (!isfinite(mean[n])) atomicMin(&first, n);
    }
    __syncthreads();
    if (thread == 0 && *nonfinite == 0 && first < predictors) *nonfinite = first + 1;
}

// mean[n] = the mean of losses[b, n] over the batch; a lone block watches, too.
__device__ __forceinline__ void mean_worker_loss_of(const float* losses, float* mean, u32* nonfinite, u32 batch,
                                               u32 predictors, const Threads& threads) {
    __shared__ double space[256];
    u32 n = blockIdx.x * threads.across + threads.x;
    double sum = 0.0;
    if (n < predictors) {
#pragma unroll 4
        for (u32 b = threads.y; b < batch; b += threads.down) sum += (double)losses[b * predictors + n];
    }
    sum = sum_over_y(sum, space, threads);
    if (n < predictors && threads.y == 0) mean[n] = (float)(sum / (double)batch);
    if (gridDim.x == 1) {
        __syncthreads();
        watch(mean, nonfinite, predictors);
    }
}

// Where a prediction is: its first element, its example and classifier, and the first element of its target.
struct Predicted {
    u32 at, example, classifier, target;

    __device__ __forceinline__ Predicted(const Predictions& h, u32 i)
        : at(i * h.classes), example(i / predictors(h)), classifier(i % predictors(h) / h.workers),
          target((example * h.classifiers + classifier) * h.classes) {}
};

// The derivative of a prediction's loss by its logit k.
__device__ __forceinline__ float label_slope(const Predictions& h, const Predicted& p, const act_t* z,
                                             const act_t* output, const u32* labels, const float* values, u32 k) {
    if (h.loss == CROSS_ENTROPY) {
        float t = (k == labels[p.example] ? 1.0f - h.smoothing : 0.0f) + h.smoothing / (float)h.classes;
        return class_weight(labels, values, p.example) * (to_float(output[p.at + k]) - t);
    }
    if (h.loss == BINARY) {
        float slope = to_float(output[p.at + k]) - binary_target(h, p.classifier, labels[p.example]);
        return class_weight(labels, values, p.example) * slope;
    }
    return 2.0f * (to_float(z[p.at + k]) - values[p.target + k]) / (float)h.classes;
}

// The gradient of a prediction's loss with respect to its logits, times a weight.
__device__ __forceinline__ void learn(const Predictions& h, const Predicted& p, const act_t* z, const act_t* output,
                                      const u32* labels, const float* values, float weight, u32 lane, act_t* dz) {
    for (u32 k = lane; k < h.classes; k += h.lanes) {
        dz[p.at + k] = to_act(weight * label_slope(h, p, z, output, labels, values, k));
    }
}

// Probabilities of logits at a temperature: a softmax of several, the sigmoid of one, which is the softmax of it and 0.
struct Softened {
    float inverse, largest, log_sum;

    // `lanes` threads go through the logits together, all of a warp at once.
    __device__ __forceinline__ Softened(const act_t* z, u32 at, u32 classes, float inverse, bool inside, u32 lane, u32 lanes)
        : inverse(inverse), largest(classes == 1 ? 0.0f : -POSITIVE_INFINITY), log_sum(0.0f) {
        for (u32 k = lane; inside && k < classes; k += lanes) largest = fmaxf(largest, to_float(z[at + k]));
        largest = reduce_lanes(largest, lanes, Largest());
        float sum = 0.0f;
        for (u32 k = lane; inside && k < classes; k += lanes) sum += expf((to_float(z[at + k]) - largest) * inverse);
        sum = reduce_lanes(sum, lanes, Plus());
        log_sum = logf(classes == 1 ? sum + expf(-largest * inverse) : sum);
    }

    // The logarithm of the probability of a logit; with one logit 0 is that of the other class.
    __device__ __forceinline__ float log(float z) const { return (z - largest) * inverse - log_sum; }
};

// The gradient of all workers' losses times `weight`: z, output, dz [batch, predictors, classes]; in half precision
// times the scale of the loss.
__device__ __forceinline__ void loss_gradient_of(const act_t* z, const act_t* output, const u32* labels,
                                                 const float* values, act_t* dz, Scaling scaling, Predictions h,
                                                 float weight) {
    u32 lane = threadIdx.x % h.lanes, groups = blockDim.x / h.lanes, predictions = h.batch * predictors(h);
    weight *= scale_of(scaling);
    for (u32 i = blockIdx.x * groups + threadIdx.x / h.lanes; i < predictions; i += gridDim.x * groups) {
        learn(h, Predicted(h, i), z, output, labels, values, weight, lane, dz);
    }
}

// The gradient of the local loss: z, output, dz [batch, predictors, classes], leaders [1 or batch, predictors],
// reference [batch, classifiers, classes]; in half precision times the scale of the loss.
__device__ __forceinline__ void local_loss_gradient_of(const act_t* z, const act_t* output, const u32* labels,
                                                       const float* values, const float* leaders,
                                                       const act_t* reference, act_t* dz, Scaling scaling, LocalLoss g) {
    const Predictions& h = g.predictions;
    u32 lane = threadIdx.x % h.lanes, groups = blockDim.x / h.lanes, predictions = h.batch * predictors(h);
    for (u32 first = blockIdx.x * groups; first < predictions; first += gridDim.x * groups) {
        u32 i = first + threadIdx.x / h.lanes;
        bool inside = i < predictions;
        Predicted p(h, i);
        // Who leads in this row and classifier.
        u32 row = g.leader_rows == 1 ? 0 : p.example;
        const float* roles = leaders + row * predictors(h) + p.classifier * h.workers;
        bool leads = inside && roles[i % h.workers] != 0.0f;
        float weight = leads ? g.leader : g.follower;
        if (g.mean) {
            u32 count = 0;
            for (u32 n = lane; inside && n < h.workers; n += h.lanes) count += roles[n] != 0.0f;
            count = reduce_lanes(count, h.lanes, Plus());
            weight /= (float)(leads ? count : h.workers - count);
        }
        weight *= scale_of(scaling);
        if (leads) learn(h, p, z, output, labels, values, weight, lane, dz);
        // Followers align; the lanes of a warp may have both roles, and exchange their sums together.
        bool follows = inside && !leads;
        float labels_weight = weight * g.rule.labels;
        weight *= 1.0f - g.rule.labels;
        if (g.rule.align == ALIGN_KL) {
            float temperature = g.rule.temperature;
            Softened own(z, p.at, h.classes, g.rule.inverse, follows, lane, h.lanes);
            Softened leader(reference, p.target, h.classes, g.rule.inverse, follows, lane, h.lanes);
            for (u32 k = lane; follows && k < h.classes; k += h.lanes) {
                float difference = expf(own.log(to_float(z[p.at + k]))) - expf(leader.log(to_float(reference[p.target + k])));
                float slope = weight * temperature * difference;
                if (labels_weight != 0.0f) slope += labels_weight * label_slope(h, p, z, output, labels, values, k);
                dz[p.at + k] = to_act(slope);
            }
            continue;
        }
        bool through_output = g.rule.align == ALIGN_OUTPUT && h.loss != MEAN_SQUARED;
        const act_t* value = through_output ? output : z;
        float factor = 2.0f * weight / (float)h.classes, sum = 0.0f;
        for (u32 k = lane; follows && h.loss == CROSS_ENTROPY && k < h.classes; k += h.lanes) {
            sum += to_float(value[p.at + k]) * factor * (to_float(value[p.at + k]) - to_float(reference[p.target + k]));
        }
        sum = reduce_lanes(sum, h.lanes, Plus());
        for (u32 k = lane; follows && k < h.classes; k += h.lanes) {
            float own = to_float(value[p.at + k]);
            float slope = factor * (own - to_float(reference[p.target + k]));
            if (through_output) slope = h.loss == CROSS_ENTROPY ? own * (slope - sum) : slope * own * (1.0f - own);
            if (labels_weight != 0.0f) slope += labels_weight * label_slope(h, p, z, output, labels, values, k);
            dz[p.at + k] = to_act(slope);
        }
    }
}

// Adds the two sums of the threads of a block; thread 0 gets them.
__device__ __forceinline__ void reduce_losses(double& leader, double& follower) {
    __shared__ double space[32];
    leader = block_sum(leader, space);
    follower = block_sum(follower, space);
}

// What separates a follower from its leader. One thread does this.
__device__ __forceinline__ float distance(const Losses& l, const act_t* own, const act_t* leader) {
    float sum = 0.0f, temperature = l.rule.temperature;
    if (l.rule.align != ALIGN_KL) {
        for (u32 k = 0; k < l.classes; ++k) {
            float difference = to_float(own[k]) - to_float(leader[k]);
            sum += difference * difference;
        }
        return sum / (float)l.classes;
    }
    Softened of_own(own, 0, l.classes, l.rule.inverse, true, 0, 1), of_leader(leader, 0, l.classes, l.rule.inverse, true, 0, 1);
    for (u32 k = 0; k < l.classes; ++k) {
        float log = of_leader.log(to_float(leader[k]));
        sum += expf(log) * (log - of_own.log(to_float(own[k])));
    }
    if (l.classes == 1) {
        float log = of_leader.log(0.0f);
        sum += expf(log) * (log - of_own.log(0.0f));
    }
    return temperature * temperature * sum;
}

// The two local losses, or the part of them that falls to each block: parts [blocks, 2]. A warp
// has a row and classifier.
__device__ __forceinline__ void local_losses_of(const float* worker_losses, const act_t* value, const float* leaders,
                                                const act_t* reference, double* parts, float* losses, Losses l) {
    u32 lane = threadIdx.x % 32, warps = blockDim.x / 32;
    double leader = 0.0, follower = 0.0;
    for (u32 row = blockIdx.x * warps + threadIdx.x / 32; row < l.batch * l.classifiers; row += gridDim.x * warps) {
        u32 example = row / l.classifiers, classifier = row % l.classifiers;
        const float* roles = leaders + ((l.leader_rows == 1 ? 0 : example) * l.classifiers + classifier) * l.workers;
        float own_leader = 0.0f, own_follower = 0.0f;
        u32 count = 0;
        for (u32 n = lane; n < l.workers; n += 32) {
            u32 i = row * l.workers + n;
            if (roles[n] != 0.0f) {
                own_leader += worker_losses[i];
                ++count;
            } else {
                float loss = (1.0f - l.rule.labels) * distance(l, value + i * l.classes, reference + row * l.classes);
                if (l.rule.labels != 0.0f) loss += l.rule.labels * worker_losses[i];
                own_follower += loss;
            }
        }
        count = reduce_lanes(count, 32, Plus());
        u32 others = l.workers - count;
        leader += (double)own_leader / (double)(l.mean && count ? count : 1);
        follower += (double)own_follower / (double)(l.mean && others ? others : 1);
    }
    reduce_losses(leader, follower);
    if (threadIdx.x != 0) return;
    if (gridDim.x == 1) {
        losses[0] = (float)(leader / (double)l.batch);
        losses[1] = (float)(follower / (double)l.batch);
    } else {
        parts[blockIdx.x * 2] = leader;
        parts[blockIdx.x * 2 + 1] = follower;
    }
}
