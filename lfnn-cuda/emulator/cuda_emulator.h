// Stands in for the CUDA language, so that the kernels run on a CPU: a test tool.
//
// A block's threads are fibres of one system thread. They run one at a time, in an order drawn from a
// seed, each until it ends or waits: at a barrier, or in a warp for the other lanes. So a missing barrier
// shows as a wrong result under some seed, and a barrier that not all threads of the block reach is an error.
// Shared memory holds NaN when a block begins; blocks run in an order of the same seed.
//
// What differs from a GPU: no two threads run at the same moment, memory is never weakly ordered, and products
// and sums are not contracted. Warp operations want the same mask of all lanes that take part.
//
// The source under test is put into an unnamed namespace behind this header, followed by a table of
// its kernels (`src/emulator/compile.rs`).
#pragma once

#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <type_traits>
#include <utility>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define LFNN_EMULATOR 1

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __restrict__ __restrict
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#if defined(__SANITIZE_ADDRESS__)
// Guarded against accesses beyond its end, but not filled with NaN.
#define __shared__ static
#else
#define __shared__ static __attribute__((section("lfnn_shared")))
#endif

struct dim3 {
    unsigned x, y, z;
};
using uint3 = dim3;

#define LFNN_VECTOR2(type, name, align)                                                                     \
    struct alignas(align) name {                                                                            \
        type x, y;                                                                                          \
    };                                                                                                      \
    static inline name make_##name(type x, type y) { return name{x, y}; }
#define LFNN_VECTOR4(type, name, align)                                                                     \
    struct alignas(align) name {                                                                            \
        type x, y, z, w;                                                                                    \
    };                                                                                                      \
    static inline name make_##name(type x, type y, type z, type w) { return name{x, y, z, w}; }
LFNN_VECTOR2(float, float2, 8)
LFNN_VECTOR2(unsigned, uint2, 8)
LFNN_VECTOR2(int, int2, 8)
LFNN_VECTOR4(float, float4, 16)
LFNN_VECTOR4(unsigned, uint4, 16)
LFNN_VECTOR4(int, int4, 16)
LFNN_VECTOR4(unsigned short, ushort4, 8)
LFNN_VECTOR4(unsigned char, uchar4, 4)

namespace emulator {

// ---- Fibres ------------------------------------------------------------------------------------------

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t STACK = 512 * 1024;
#else
constexpr size_t STACK = 128 * 1024;
#endif

#if defined(__x86_64__)
// Saves the registers that a function keeps, and goes on where another fibre did.
extern "C" __attribute__((visibility("hidden"))) void lfnn_emulator_switch(void** from, void* to);
asm(R"(
.text
.hidden lfnn_emulator_switch
.globl lfnn_emulator_switch
.type lfnn_emulator_switch, @function
lfnn_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size lfnn_emulator_switch, .-lfnn_emulator_switch
)");
struct Context {
    void* top = nullptr;

    void prepare(char* stack, void (*entry)()) {
        // Aligned as after a call: a multiple of 16 plus 8.
        void** top_of_stack = reinterpret_cast<void**>(stack + STACK - 16);
        *--top_of_stack = nullptr;
        *--top_of_stack = reinterpret_cast<void*>(entry);
        top = top_of_stack - 6;
    }
    void go(Context& to) { lfnn_emulator_switch(&top, to.top); }
};
#else
struct Context {
    ucontext_t registers;

    void prepare(char* stack, void (*entry)()) {
        getcontext(&registers);
        registers.uc_stack.ss_sp = stack;
        registers.uc_stack.ss_size = STACK;
        registers.uc_link = nullptr;
        makecontext(&registers, entry, 0);
    }
    void go(Context& to) { swapcontext(&registers, &to.registers); }
};
#endif

struct Fibre {
    Context context;
    char* stack;
};

enum class State { Ready, AtBarrier, InWarp, Done };

struct Site {
    const char* file = "";
    int line = 0;
    bool operator==(const Site& other) const { return file == other.file && line == other.line; }
};

struct Thread {
    dim3 index;
    unsigned number = 0;
    State state = State::Ready;
    Site site;
    int vote = 0;
    Fibre* fibre = nullptr;
};

// What the lanes of a warp exchange. Two buffers, because a lane may be at the next operation before
// another has read the results of this one.
struct Warp {
    unsigned arrived = 0;
    unsigned mask = 0;
    unsigned turn = 0;
    uint64_t values[2][32];
};

static Thread* current;
static dim3 grid_extent, block_extent, block_index;
static Context scheduler;
static std::vector<Fibre*> idle;
static std::vector<Thread> threads;
static std::vector<Warp> warps;
static std::vector<unsigned> ready;
static int votes_or, votes_and, votes_count;
static unsigned char* dynamic_bytes;
static void (*kernel)(void**);
static void** arguments;
static uint64_t random_state;
static char* message;
static unsigned message_size;
static bool failed;

static inline uint64_t random_word() {
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

template <class T> static void shuffle(std::vector<T>& items) {
    for (size_t last = items.size(); last > 1; --last) {
        std::swap(items[last - 1], items[random_word() % last]);
    }
}

template <class... A> static void fail(const char* format, A... values) {
    if (!failed) snprintf(message, message_size, format, values...);
    failed = true;
}

#if defined(__SANITIZE_ADDRESS__)
static const void* scheduler_bottom;
static size_t scheduler_size;
#endif

// To the scheduler, until it comes back here.
static inline void pause() {
    Fibre* self = current->fibre;
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, scheduler_bottom, scheduler_size);
    self->context.go(scheduler);
    __sanitizer_finish_switch_fiber(fake, &scheduler_bottom, &scheduler_size);
#else
    self->context.go(scheduler);
#endif
}

// A fibre runs one thread after the other.
__attribute__((noreturn)) static void fibre_entry() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_bottom, &scheduler_size);
#endif
    for (;;) {
        kernel(arguments);
        // A fibre that ends is used again, so that its stack stays in the cache.
        current->state = State::Done;
        pause();
    }
}

static Fibre* fibre() {
    if (!idle.empty()) {
        Fibre* free = idle.back();
        idle.pop_back();
        return free;
    }
    void* stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) abort();
    // Below the stack an access ends the process.
    mprotect(stack, 4096, PROT_NONE);
    Fibre* made = new Fibre{{}, static_cast<char*>(stack)};
    made->context.prepare(made->stack, fibre_entry);
    return made;
}

static void resume(Thread& thread) {
    if (!thread.fibre) thread.fibre = fibre();
    current = &thread;
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, thread.fibre->stack, STACK);
    scheduler.go(thread.fibre->context);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    scheduler.go(thread.fibre->context);
#endif
    if (thread.state == State::Done) {
        idle.push_back(thread.fibre);
        thread.fibre = nullptr;
    }
}

// ---- Barriers ----------------------------------------------------------------------------------------

static inline int barrier(const char* file, int line, int vote, int* result) {
    current->state = State::AtBarrier;
    current->site = Site{file, line};
    current->vote = vote;
    pause();
    return *result;
}

static const char* base_name(const char* file) {
    const char* slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
}

// Says why nobody can go on.
static void stuck() {
    size_t done = 0;
    const Thread *at_barrier = nullptr, *in_warp = nullptr;
    for (const Thread& thread : threads) {
        if (thread.state == State::Done) ++done;
        if (thread.state == State::AtBarrier) at_barrier = &thread;
        if (thread.state == State::InWarp) in_warp = &thread;
    }
    if (in_warp) {
        const Warp& warp = warps[in_warp->number / 32];
        fail("warp operation at %s:%d: lanes %08x of mask %08x have reached it, the others never do",
             base_name(in_warp->site.file), in_warp->site.line, warp.arrived, warp.mask);
    } else if (done) {
        fail("barrier at %s:%d: %zu of %zu threads ended without reaching it", base_name(at_barrier->site.file),
             at_barrier->site.line, done, threads.size());
    } else {
        for (const Thread& thread : threads) {
            if (!(thread.site == at_barrier->site)) {
                fail("threads of one block wait at different barriers: thread %u at %s:%d, thread %u at %s:%d",
                     thread.number, base_name(thread.site.file), thread.site.line, at_barrier->number,
                     base_name(at_barrier->site.file), at_barrier->site.line);
                return;
            }
        }
    }
}

// Whether all threads of the block wait at one barrier; then they may go on.
static bool open_barrier() {
    const Site& site = threads[0].site;
    for (const Thread& thread : threads) {
        if (thread.state != State::AtBarrier || !(thread.site == site)) return false;
    }
    votes_or = 0, votes_and = 1, votes_count = 0;
    for (Thread& thread : threads) {
        votes_or |= thread.vote != 0;
        votes_and &= thread.vote != 0;
        votes_count += thread.vote != 0;
        thread.state = State::Ready;
        ready.push_back(thread.number);
    }
    shuffle(ready);
    return true;
}

static void run_block() {
    unsigned number = 0;
    ready.clear();
    for (unsigned z = 0; z < block_extent.z; ++z) {
        for (unsigned y = 0; y < block_extent.y; ++y) {
            for (unsigned x = 0; x < block_extent.x; ++x, ++number) {
                Thread& thread = threads[number];
                thread.index = dim3{x, y, z};
                thread.number = number;
                thread.state = State::Ready;
                thread.fibre = nullptr;
                ready.push_back(number);
            }
        }
    }
    for (Warp& warp : warps) warp.arrived = warp.turn = 0;
    shuffle(ready);
    for (;;) {
        size_t done = 0;
        while (!ready.empty() && !failed) {
            unsigned next = ready.back();
            ready.pop_back();
            resume(threads[next]);
        }
        if (failed) return;
        for (const Thread& thread : threads) done += thread.state == State::Done;
        if (done == threads.size()) return;
        if (!open_barrier()) {
            stuck();
            return;
        }
    }
}

// ---- Warps -------------------------------------------------------------------------------------------

// Gives a value to the other lanes of the mask and waits for theirs.
static inline const uint64_t* exchange(unsigned mask, uint64_t value, const char* file, int line) {
    Warp& warp = warps[current->number / 32];
    unsigned lane = current->number % 32;
    unsigned lanes = static_cast<unsigned>(threads.size()) - (current->number - lane);
    if (lanes < 32) mask &= (1u << lanes) - 1;
    if (!(mask >> lane & 1)) {
        fail("warp operation at %s:%d: lane %u is not in the mask %08x that it gives", base_name(file), line, lane, mask);
    } else if (warp.arrived && warp.mask != mask) {
        fail("warp operation at %s:%d: masks %08x and %08x at the same time", base_name(file), line, warp.mask, mask);
    }
    uint64_t* values = warp.values[warp.turn & 1];
    values[lane] = value;
    warp.mask = mask;
    warp.arrived |= 1u << lane;
    if (warp.arrived == mask && !failed) {
        warp.arrived = 0;
        ++warp.turn;
        unsigned first = current->number - lane;
        for (unsigned other = 0; other < 32; ++other) {
            if (other == lane || !(mask >> other & 1)) continue;
            threads[first + other].state = State::Ready;
            ready.push_back(first + other);
            std::swap(ready.back(), ready[random_word() % ready.size()]);
        }
        return values;
    }
    current->state = State::InWarp;
    current->site = Site{file, line};
    pause();
    return values;
}

template <class T> static inline uint64_t to_bits(T value) {
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable<T>::value, "a value of up to 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    return bits;
}

template <class T> static inline T from_bits(uint64_t bits) {
    T value;
    memcpy(&value, &bits, sizeof(T));
    return value;
}

template <class T>
static inline T shuffle_from(unsigned mask, T value, int source, int width, bool inside, const char* file, int line) {
    const uint64_t* values = exchange(mask, to_bits(value), file, line);
    if (!inside) return value;
    if (!(mask >> source & 1)) {
        fail("shuffle at %s:%d: lane %d is read, which is not in the mask %08x", base_name(file), line, source, mask);
        return value;
    }
    (void)width;
    return from_bits<T>(values[source]);
}

static inline int lane() { return current->number % 32; }

template <class T>
static inline T shfl(const char* file, int line, unsigned mask, T value, int source, int width = 32) {
    int first = lane() / width * width;
    return shuffle_from(mask, value, first + (source & (width - 1)), width, true, file, line);
}

template <class T>
static inline T shfl_xor(const char* file, int line, unsigned mask, T value, int bits, int width = 32) {
    int source = lane() ^ bits;
    return shuffle_from(mask, value, source, width, source / width <= lane() / width, file, line);
}

template <class T>
static inline T shfl_down(const char* file, int line, unsigned mask, T value, unsigned delta, int width = 32) {
    int source = lane() + static_cast<int>(delta);
    return shuffle_from(mask, value, source, width, source / width == lane() / width, file, line);
}

template <class T>
static inline T shfl_up(const char* file, int line, unsigned mask, T value, unsigned delta, int width = 32) {
    int source = lane() - static_cast<int>(delta);
    return shuffle_from(mask, value, source, width, source >= lane() / width * width, file, line);
}

static inline unsigned ballot(const char* file, int line, unsigned mask, int vote) {
    const uint64_t* values = exchange(mask, vote != 0, file, line);
    unsigned result = 0;
    for (int other = 0; other < 32; ++other) {
        if (mask >> other & 1 && values[other]) result |= 1u << other;
    }
    return result;
}

// ---- Launches ----------------------------------------------------------------------------------------

// How an argument is passed: for a check that the plan passes what the kernel takes.
enum Kind : unsigned { POINTER, WHOLE, REAL, STRUCT };

template <class T> constexpr Kind kind_of() {
    return std::is_pointer<T>::value ? POINTER
           : std::is_integral<T>::value ? WHOLE
           : std::is_floating_point<T>::value ? REAL
                                              : STRUCT;
}

struct Entry {
    const char* name;
    void (*call)(void**);
    unsigned count;
    const unsigned* kinds;
    const unsigned* sizes;
};

template <class T> static inline T argument(void* place) {
    typename std::remove_cv<T>::type value;
    memcpy(&value, place, sizeof(T));
    return value;
}

template <class... A, size_t... I>
static inline void call(void (*function)(A...), void** values, std::index_sequence<I...>) {
    (void)values;
    function(argument<A>(values[I])...);
}

template <class Function, Function function> struct Kernel;
template <class... A, void (*function)(A...)> struct Kernel<void (*)(A...), function> {
    static void run(void** values) { call(function, values, std::index_sequence_for<A...>()); }
    static Entry entry(const char* name) {
        static const unsigned kinds[] = {kind_of<A>()..., 0};
        static const unsigned sizes[] = {static_cast<unsigned>(sizeof(A))..., 0};
        return Entry{name, run, sizeof...(A), kinds, sizes};
    }
};
#define LFNN_KERNEL(name) ::emulator::Kernel<decltype(&name), &name>::entry(#name)

#if !defined(__SANITIZE_ADDRESS__)
extern "C" __attribute__((weak, visibility("hidden"))) unsigned char __start_lfnn_shared[];
extern "C" __attribute__((weak, visibility("hidden"))) unsigned char __stop_lfnn_shared[];
#endif

// Runs every block; 0, or 1 with a message.
static int launch(const Entry& entry, const unsigned* grid, const unsigned* block, unsigned shared, uint64_t seed,
                  void** values, char* said, unsigned said_size) {
    grid_extent = dim3{grid[0], grid[1], grid[2]};
    block_extent = dim3{block[0], block[1], block[2]};
    message = said, message_size = said_size, failed = false;
    random_state = seed;
    kernel = entry.call, arguments = values;
    size_t size = static_cast<size_t>(block[0]) * block[1] * block[2];
    threads.resize(size);
    warps.resize((size + 31) / 32);
    // Of its own size, so that an access beyond it is found.
    dynamic_bytes = static_cast<unsigned char*>(aligned_alloc(16, (static_cast<size_t>(shared) + 15) / 16 * 16));
    std::vector<uint64_t> order;
    for (uint64_t i = 0, n = static_cast<uint64_t>(grid[0]) * grid[1] * grid[2]; i < n; ++i) order.push_back(i);
    shuffle(order);
    for (uint64_t i : order) {
        block_index = dim3{static_cast<unsigned>(i % grid[0]), static_cast<unsigned>(i / grid[0] % grid[1]),
                           static_cast<unsigned>(i / grid[0] / grid[1])};
        if (shared) memset(dynamic_bytes, 0xFF, shared);
#if !defined(__SANITIZE_ADDRESS__)
        if (__start_lfnn_shared) memset(__start_lfnn_shared, 0xFF, __stop_lfnn_shared - __start_lfnn_shared);
#endif
        run_block();
        if (failed) break;
    }
    free(dynamic_bytes);
    return failed;
}

// Dynamic shared memory of the block.
static inline unsigned char* dynamic_shared() { return dynamic_bytes; }

}  // namespace emulator

#define threadIdx (::emulator::current->index)
#define blockIdx (::emulator::block_index)
#define blockDim (::emulator::block_extent)
#define gridDim (::emulator::grid_extent)
#define warpSize 32

#define __syncthreads() ((void)::emulator::barrier(__FILE__, __LINE__, 0, &::emulator::votes_or))
#define __syncthreads_or(vote) ::emulator::barrier(__FILE__, __LINE__, (vote), &::emulator::votes_or)
#define __syncthreads_and(vote) ::emulator::barrier(__FILE__, __LINE__, (vote), &::emulator::votes_and)
#define __syncthreads_count(vote) ::emulator::barrier(__FILE__, __LINE__, (vote), &::emulator::votes_count)
#define __syncwarp(...) ((void)::emulator::exchange(~0u, 0, __FILE__, __LINE__))
#define __shfl_sync(...) ::emulator::shfl(__FILE__, __LINE__, __VA_ARGS__)
#define __shfl_xor_sync(...) ::emulator::shfl_xor(__FILE__, __LINE__, __VA_ARGS__)
#define __shfl_down_sync(...) ::emulator::shfl_down(__FILE__, __LINE__, __VA_ARGS__)
#define __shfl_up_sync(...) ::emulator::shfl_up(__FILE__, __LINE__, __VA_ARGS__)
#define __ballot_sync(mask, vote) ::emulator::ballot(__FILE__, __LINE__, mask, vote)
#define __any_sync(mask, vote) (::emulator::ballot(__FILE__, __LINE__, mask, vote) != 0)
#define __all_sync(mask, vote) (::emulator::ballot(__FILE__, __LINE__, mask, vote) == (mask))

static inline void __threadfence() {}
static inline void __threadfence_block() {}
[[maybe_unused]] static inline void __trap() { abort(); }

// Atomic operations on whole numbers; there are none on reals, whose sums would depend on the order.
template <class T> static inline T lfnn_exchange_with(T* place, T value) {
    T old = *place;
    *place = value;
    return old;
}
#define LFNN_ATOMICS(T)                                                                                     \
    static inline T atomicAdd(T* place, T value) { return lfnn_exchange_with<T>(place, *place + value); }   \
    static inline T atomicMax(T* p, T v) { return lfnn_exchange_with<T>(p, *p > v ? *p : v); }              \
    static inline T atomicMin(T* p, T v) { return lfnn_exchange_with<T>(p, *p < v ? *p : v); }              \
    static inline T atomicOr(T* place, T value) { return lfnn_exchange_with<T>(place, *place | value); }    \
    static inline T atomicAnd(T* place, T value) { return lfnn_exchange_with<T>(place, *place & value); }   \
    static inline T atomicExch(T* place, T value) { return lfnn_exchange_with<T>(place, value); }           \
    static inline T atomicCAS(T* place, T compare, T value) {                                               \
        return lfnn_exchange_with<T>(place, *place == compare ? value : *place);                            \
    }
LFNN_ATOMICS(unsigned)
LFNN_ATOMICS(int)
LFNN_ATOMICS(unsigned long long)
static inline unsigned atomicInc(unsigned* place, unsigned limit) {
    return lfnn_exchange_with<unsigned>(place, *place >= limit ? 0 : *place + 1);
}

// Loads and bits.
template <class T> static inline T __ldg(const T* place) { return *place; }
template <class T> static inline T __ldcs(const T* place) { return *place; }
template <class T> static inline void __stcs(T* place, T value) { *place = value; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (static_cast<uint64_t>(a) * b) >> 32; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline unsigned __float_as_uint(float x) { return static_cast<unsigned>(emulator::to_bits(x)); }
static inline int __float_as_int(float x) { return static_cast<int>(__float_as_uint(x)); }
static inline float __uint_as_float(unsigned x) { return emulator::from_bits<float>(x); }
static inline float __int_as_float(int x) { return __uint_as_float(static_cast<unsigned>(x)); }

// Mathematics that C does not have, or has under another name.
using std::isfinite;
using std::isinf;
using std::isnan;
// The C library has functions of these names.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline void sincospif(float x, float* sine, float* cosine) {
    *sine = static_cast<float>(sin(M_PI * x));
    *cosine = static_cast<float>(cos(M_PI * x));
}
#define LFNN_MIN_MAX(T)                                                                                     \
    static inline T min(T a, T b) { return b < a ? b : a; }                                                 \
    static inline T max(T a, T b) { return a < b ? b : a; }
LFNN_MIN_MAX(int)
LFNN_MIN_MAX(unsigned)
LFNN_MIN_MAX(long long)
LFNN_MIN_MAX(unsigned long long)
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
