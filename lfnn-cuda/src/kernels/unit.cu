// The small operations between a unit's logits and their gradient, one after the other in one block.
//
// Each alone is a launch that does next to nothing. A block takes them all where the predictions are few: what one
// writes the next reads behind a barrier, so none of these functions may be told that its operands are constant.

// `Task` of plan/unit.rs: an operation, its pointers in order, and its other arguments in order.
struct __align__(8) Task {
    u64 pointers[8];
    u32 words[24];
    u32 operation, unused;

    template <class T> __device__ __forceinline__ T* pointer(u32 i) const { return reinterpret_cast<T*>(pointers[i]); }
    template <class T> __device__ __forceinline__ const T& at(u32 word) const {
        return *reinterpret_cast<const T*>(words + word);
    }
};

constexpr u32 TASK_WORDS = sizeof(Task) / sizeof(u32);
constexpr u32 MOST_TASKS = 12;

// `Tasks` of plan/unit.rs.
struct __align__(8) Tasks {
    u32 count, unused;
    u32 words[MOST_TASKS * TASK_WORDS];
};

// The operations, in the order of plan/unit.rs.
enum : u32 {
    WORKER_LOSS,
    MEAN_WORKER_LOSS,
    ACCUMULATE_ROWS,
    COUNT_ERRORS,
    SELECT_LEADERS,
    EPOCH_LEADERS,
    ALIGNMENT_TARGET,
    LOCAL_LOSSES,
    LOSS_GRADIENT,
    LOCAL_LOSS_GRADIENT
};

__device__ __forceinline__ void run(const Task& t) {
    const u32* w = t.words;
    switch (t.operation) {
    case WORKER_LOSS:
        worker_loss_of(t.pointer<real>(0), t.pointer<u32>(1), t.pointer<float>(2), t.pointer<real>(3),
                       t.pointer<float>(4), t.at<Predictions>(0));
        break;
    case MEAN_WORKER_LOSS:
        mean_worker_loss_of(t.pointer<float>(0), t.pointer<float>(1), t.pointer<u32>(2), w[0], w[1],
                            Threads::for_columns(w[1]));
        break;
    case ACCUMULATE_ROWS:
        accumulate_rows_of(t.pointer<float>(0), t.pointer<u32>(1), t.pointer<float>(2), w[0], w[1],
                           Threads::for_columns(w[1]));
        break;
    case COUNT_ERRORS:
        count_errors_of(t.pointer<real>(0), t.pointer<u32>(1), t.pointer<u32>(2), t.pointer<float>(3), w[0], w[1], w[2],
                        w[3], w[4], w[5], Threads::for_columns(w[1]));
        break;
    case SELECT_LEADERS:
        select_leaders_of(t.pointer<float>(0), t.pointer<float>(1), t.pointer<u32>(2), w[0], w[1], w[2]);
        break;
    case EPOCH_LEADERS:
        epoch_leaders_of(t.pointer<float>(0), t.pointer<u32>(1), t.pointer<float>(2), t.pointer<float>(3),
                         t.pointer<u32>(4), w[0], w[1]);
        break;
    case ALIGNMENT_TARGET:
        alignment_target_of(t.pointer<real>(0), t.pointer<float>(1), t.pointer<u32>(2), t.pointer<u32>(3),
                            t.pointer<real>(4), t.at<Target>(0));
        break;
    case LOCAL_LOSSES:
        local_losses_of(t.pointer<float>(0), t.pointer<real>(1), t.pointer<float>(2), t.pointer<real>(3),
                        t.pointer<double>(4), t.pointer<float>(5), t.at<Losses>(0));
        break;
    case LOSS_GRADIENT:
        loss_gradient_of(t.pointer<real>(0), t.pointer<real>(1), t.pointer<u32>(2), t.pointer<float>(3),
                         t.pointer<real>(4), t.at<Scaling>(0), t.at<Predictions>(4), t.at<float>(12));
        break;
    case LOCAL_LOSS_GRADIENT:
        local_loss_gradient_of(t.pointer<real>(0), t.pointer<real>(1), t.pointer<u32>(2), t.pointer<float>(3),
                               t.pointer<float>(4), t.pointer<real>(5), t.pointer<real>(6), t.at<Scaling>(0),
                               t.at<LocalLoss>(4));
        break;
    }
}

// As in losses.cu: registers saved around the division of double numbers.
// spills: unit_losses
// One block.
extern "C" __global__ void __launch_bounds__(256) unit_losses(Tasks tasks) {
    __shared__ Task task;
    for (u32 i = 0; i < tasks.count; ++i) {
        __syncthreads();
        if (threadIdx.x < TASK_WORDS) {
            reinterpret_cast<u32*>(&task)[threadIdx.x] = tasks.words[i * TASK_WORDS + threadIdx.x];
        }
        __syncthreads();
        run(task);
    }
}
