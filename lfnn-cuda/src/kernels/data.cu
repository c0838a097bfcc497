// From the stored data set to a batch.

// The example in a row of the batch; beyond the count, the last one.
__device__ __forceinline__ u32 example(const u32* order, const u32* counter, u32 batch, u32 row) {
    u64 position = (u64)counter[COUNTER_STEP] * batch + row, count = counter[COUNTER_COUNT];
    return order[position < count ? position : count - 1];
}

// The number that an element of a stored data set stands for.
__device__ __forceinline__ float stored_value(u8 value) { return (float)value / 255.0f; }
__device__ __forceinline__ float stored_value(float value) { return value; }

// x[b] = the image of row b, moved, mirrored, normalised and cut out. Blocks of one blockIdx.x share an image.
template <typename T>
__device__ __forceinline__ void gather_images(const T* pixels, const u32* order, const u32* counter, const float* scale,
                                              const float* shift, act_t* x, const ImageParameters& p) {
    __shared__ u32 number;
    __shared__ int down, right, cut_row, cut_column;
    __shared__ bool mirrored;
    if (threadIdx.x == 0) {
        number = example(order, counter, p.batch, blockIdx.x);
        down = right = cut_row = cut_column = 0;
        mirrored = false;
        if (p.augment) {
            uint4 crop = random_block(counter, p.stream, 0, number), cut = random_block(counter, p.stream, 1, number);
            down = (int)below(crop.x, 2 * p.padding + 1) - (int)p.padding;
            right = (int)below(crop.y, 2 * p.padding + 1) - (int)p.padding;
            mirrored = p.flip && crop.z >> 31;
            cut_row = (int)below(cut.x, p.height) - (int)(p.cutout / 2);
            cut_column = (int)below(cut.y, p.width) - (int)(p.cutout / 2);
        }
    }
    __syncthreads();
    u32 size = p.height * p.width * p.channels;
    const T* image = pixels + (u64)number * size;
    act_t* out = x + blockIdx.x * size;
    for (u32 i = blockIdx.y * blockDim.x + threadIdx.x; i < size; i += gridDim.y * blockDim.x) {
        u32 channel = i % p.channels, pixel = i / p.channels;
        int row = (int)(pixel / p.width), column = (int)(pixel % p.width);
        bool is_cut = row >= cut_row && row < cut_row + (int)p.cutout && column >= cut_column &&
                      column < cut_column + (int)p.cutout;
        int from_row = row + down, from_column = (mirrored ? (int)p.width - 1 - column : column) + right;
        bool inside = from_row >= 0 && from_row < (int)p.height && from_column >= 0 && from_column < (int)p.width;
        T value = inside ? image[((u32)from_row * p.width + (u32)from_column) * p.channels + channel] : (T)0;
        out[i] = to_act(is_cut ? 0.0f : stored_value(value) * scale[channel] + shift[channel]);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    load_images(const u8* __restrict__ pixels, const u32* __restrict__ order, const u32* __restrict__ counter,
                const float* __restrict__ scale, const float* __restrict__ shift, act_t* __restrict__ x,
                ImageParameters p) {
    gather_images(pixels, order, counter, scale, shift, x, p);
}

extern "C" __global__ void __launch_bounds__(256)
    load_real_images(const float* __restrict__ pixels, const u32* __restrict__ order, const u32* __restrict__ counter,
                     const float* __restrict__ scale, const float* __restrict__ shift, act_t* __restrict__ x,
                     ImageParameters p) {
    gather_images(pixels, order, counter, scale, shift, x, p);
}

extern "C" __global__ void __launch_bounds__(256)
    load_labels(const u32* __restrict__ labels, const u32* __restrict__ order, const u32* __restrict__ counter,
                u32* __restrict__ target, u32 batch) {
    GRID_STRIDE(row, batch) target[row] = labels[example(order, counter, batch, row)];
}

extern "C" __global__ void __launch_bounds__(256)
    load_values(const float* __restrict__ values, const u32* __restrict__ order, const u32* __restrict__ counter,
                float* __restrict__ target, u32 batch, u32 width) {
    GRID_STRIDE(i, batch * width) {
        u32 row = i / width;
        target[i] = values[(u64)example(order, counter, batch, row) * width + i % width];
    }
}
