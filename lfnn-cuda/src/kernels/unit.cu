// The small operations between a unit's logits and their gradient, one after the other in one block.
//
// Each alone is a launch that does next to nothing. A block takes them all where the predictions are few: what one
// writes the next reads after a barrier, so none of these functions may be told that its operands are constant.

// The arguments of a task by their positions: pointers, and words of the others.
struct Arguments {
    const Task& task;

    template <class T> __device__ __forceinline__ T* pointer(u32 i) const { return static_cast<T*>(task.pointers[i]); }
    template <class T> __device__ __forceinline__ const T& at(u32 word) const {
        return *reinterpret_cast<const T*>(task.words + word);
    }
};

constexpr u32 TASK_WORDS = sizeof(Task) / sizeof(u32);

__device__ __forceinline__ void run(const Task& task) {
    Arguments t = {task};
    const u32* w = task.words;
    switch (task.operation) {
    case WORKER_LOSS:
        worker_loss_of(t.pointer<act_t>(0), t.pointer<u32>(1), t.pointer<float>(2), t.pointer<act_t>(3),
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
        count_errors_of(t.pointer<act_t>(0), t.pointer<u32>(1), t.pointer<u32>(2), t.pointer<float>(3), w[0], w[1], w[2],
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
        alignment_target_of(t.pointer<act_t>(0), t.pointer<float>(1), t.pointer<u32>(2), t.pointer<u32>(3),
                            t.pointer<act_t>(4), t.at<Target>(0));
        break;
    case LOCAL_LOSSES:
        local_losses_of(t.pointer<float>(0), t.pointer<act_t>(1), t.pointer<float>(2), t.pointer<act_t>(3),
                        t.pointer<double>(4), t.pointer<float>(5), t.at<Losses>(0));
        break;
    case LOSS_GRADIENT:
        loss_gradient_of(t.pointer<act_t>(0), t.pointer<act_t>(1), t.pointer<u32>(2), t.pointer<float>(3),
                         t.pointer<act_t>(4), t.at<Scaling>(0), t.at<Predictions>(4), t.at<float>(12));
        break;
    case LOCAL_LOSS_GRADIENT:
        local_loss_gradient_of(t.pointer<act_t>(0), t.pointer<act_t>(1), t.pointer<u32>(2), t.pointer<float>(3),
                               t.pointer<float>(4), t.pointer<act_t>(5), t.pointer<act_t>(6), t.at<Scaling>(0),
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
            reinterpret_cast<u32*>(&task)[threadIdx.x] = reinterpret_cast<const u32*>(tasks.tasks)[i * TASK_WORDS + threadIdx.x];
        }
        __syncthreads();
        run(task);
    }
}
