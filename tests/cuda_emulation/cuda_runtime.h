// A host emulation of the part of CUDA that ext/cuda uses, so that its kernels run, and are checked, without a GPU.
//
// Each thread of a block is a fiber (scheduler.cpp). Warp intrinsics and barriers wait for each other as on the device and
// report what would be undefined there. Every access of a kernel to memory is checked (memory.cpp), because the sources are
// compiled with the compiler's instrumentation for ThreadSanitizer and linked with hooks of our own instead of its runtime.
// build.py rewrites the two constructs that a host compiler cannot parse: `kernel<<<...>>>(...)` and `__shared__`.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <tuple>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) int4 {
  int x, y, z, w;
};

// ----------------------------------------------------------------------------------------------------------- host's part

typedef struct CUstream_st* cudaStream_t;  // every launch ends before the call returns, so a stream is nothing
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorLaunchFailure = 719,
};

cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);  // of cudaErrorLaunchFailure: what the checks found

namespace emulation {

struct Place {  // of a line of a kernel, for reports
  const char* file;
  int line;
};
#define EMULATION_HERE (::emulation::Place{__FILE__, __LINE__})

// The same in all of a thread's life, so that the compiler may keep them in registers.
__attribute__((const)) uint3 thread_index();
__attribute__((const)) uint3 block_index();
__attribute__((const)) dim3 block_size();
__attribute__((const)) dim3 grid_size();

void run(dim3 grid, dim3 block, size_t shared, void (*body)(void*), void* arguments, size_t argument_bytes);

// What `kernel<<<grid, block, shared, stream>>>` becomes; its call runs the grid.
template <class... Parameters>
class Launch {
 public:
  Launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared = 0, cudaStream_t = nullptr)
      : kernel_(kernel), grid_(grid), block_(block), shared_(shared) {}

  template <class... Arguments>
  void operator()(Arguments... arguments) const {
    struct Call {
      void (*kernel)(Parameters...);
      std::tuple<Parameters...> parameters;
    } call{kernel_, std::tuple<Parameters...>(arguments...)};
    run(grid_, block_, shared_, [](void* p) { std::apply(((Call*)p)->kernel, ((Call*)p)->parameters); }, &call, sizeof call);
  }

 private:
  void (*kernel_)(Parameters...);
  dim3 grid_, block_;
  size_t shared_;
};

// ------------------------------------------------------------------------------------------------------- a thread's part

enum class Exchange { kBallot, kShuffle, kShuffleUp, kShuffleDown, kShuffleXor, kSync };
// Waits for all lanes of the mask, then gives each what it asks for of the others' values.
void exchange(Exchange kind, Place place, unsigned mask, const void* value, void* result, size_t bytes, int argument, int width);
void barrier(Place place);

inline unsigned ballot(Place place, unsigned mask, bool yes) {
  unsigned result = 0;
  exchange(Exchange::kBallot, place, mask, &yes, &result, sizeof yes, 0, 32);
  return result;
}
template <class V>
inline V shuffle(Exchange kind, Place place, unsigned mask, V value, int argument, int width = 32) {
  V result;
  exchange(kind, place, mask, &value, &result, sizeof value, argument, width);
  return result;
}
struct WarpBarrier {
  Place place;
  void operator()(unsigned mask = 0xffffffffu) const { exchange(Exchange::kSync, place, mask, nullptr, nullptr, 0, 0, 32); }
};

// Shared memory of the running block; a declaration is its key.
void* shared_memory(const void* key, size_t bytes);
void* dynamic_shared_memory();
template <class T, int kDeclaration>
T& shared() {
  static char key;
  return *(T*)shared_memory(&key, sizeof(T));
}

void vector_access(const void* address, size_t bytes);

// Between fibers any operation is atomic; what remains is to tell the checks that it was meant to be.
void atomic_access(const void* address, size_t bytes);
template <class T, class Change>
__attribute__((no_sanitize("thread"), noinline)) T atomic(T* address, Change change) {
  atomic_access(address, sizeof(T));
  const T before = *address;
  *address = change(before);
  return before;
}

}  // namespace emulation

#define threadIdx (::emulation::thread_index())
#define blockIdx (::emulation::block_index())
#define blockDim (::emulation::block_size())
#define gridDim (::emulation::grid_size())
#define warpSize 32

#define __syncthreads() ::emulation::barrier(EMULATION_HERE)
#define __syncwarp ::emulation::WarpBarrier{EMULATION_HERE}
#define __ballot_sync(mask, yes) ::emulation::ballot(EMULATION_HERE, mask, yes)
#define __shfl_sync(mask, ...) ::emulation::shuffle(::emulation::Exchange::kShuffle, EMULATION_HERE, mask, __VA_ARGS__)
#define __shfl_up_sync(mask, ...) ::emulation::shuffle(::emulation::Exchange::kShuffleUp, EMULATION_HERE, mask, __VA_ARGS__)
#define __shfl_down_sync(mask, ...) ::emulation::shuffle(::emulation::Exchange::kShuffleDown, EMULATION_HERE, mask, __VA_ARGS__)
#define __shfl_xor_sync(mask, ...) ::emulation::shuffle(::emulation::Exchange::kShuffleXor, EMULATION_HERE, mask, __VA_ARGS__)

inline int __clz(int bits) { return bits ? __builtin_clz((unsigned)bits) : 32; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
template <class T>
inline T __ldg(const T* address) {
  if (sizeof(T) > 8) emulation::vector_access(address, sizeof(T));  // the compiler may split it, and its alignment be forgotten
  return *address;
}

template <class T>
T atomicAdd(T* address, T value) {
  return emulation::atomic(address, [value](T before) { return (T)(before + value); });
}
template <class T>
T atomicMax(T* address, T value) {
  return emulation::atomic(address, [value](T before) { return before < value ? value : before; });
}
template <class T>
T atomicMin(T* address, T value) {
  return emulation::atomic(address, [value](T before) { return value < before ? value : before; });
}
template <class T>
T atomicExch(T* address, T value) {
  return emulation::atomic(address, [value](T) { return value; });
}
template <class T>
T atomicCAS(T* address, T expected, T value) {
  return emulation::atomic(address, [=](T before) { return before == expected ? value : before; });
}
