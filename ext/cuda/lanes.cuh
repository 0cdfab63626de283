// Who does the sums of patchmatch.h and windows.h on CUDA: a group of lanes, 1 to 32 neighbours in a warp, serves one query
// or one target. All lanes of a group take the same branches (what they decide on is the same in each of them), so a
// group synchronises with itself alone: its shuffles name its own lanes, and groups of a warp may diverge or end freely.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <string.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "../patchmatch.h"
#include "../windows.h"

namespace psal {

using Half = __half;
using Brain = __nv_bfloat16;

constexpr int kThreads = 128;    // of a block, always
constexpr int kLoadBytes = 16;   // the widest load of one lane

// ------------------------------------------------------------------------------------------------------------- numbers

__device__ __forceinline__ void narrow(float v, float& out) { out = v; }
__device__ __forceinline__ void narrow(float v, Half& out) { out = __float2half_rn(v); }
__device__ __forceinline__ void narrow(float v, Brain& out) { out = __float2bfloat16_rn(v); }
__device__ __forceinline__ void narrow(double v, double& out) { out = v; }

__device__ __forceinline__ float widen(float v) { return v; }
__device__ __forceinline__ float widen(Half v) { return __half2float(v); }
__device__ __forceinline__ float widen(Brain v) { return __bfloat162float(v); }
__device__ __forceinline__ double widen(double v) { return v; }

// What a lane reads at once: 16 bytes, or one number where the pictures are not aligned to 16 bytes. It stays as it was in
// memory until its numbers are needed: eight halves are 4 registers, eight floats are 8.
template <class T, int kWidth>
struct Pack {
  int4 bits;

  static __device__ __forceinline__ Pack load(const T* p) { return {__ldg((const int4*)p)}; }
  __device__ __forceinline__ void unpack(typename TermOf<T>::type (&out)[kWidth]) const {
    const int words[4] = {bits.x, bits.y, bits.z, bits.w};
    constexpr int kWords = sizeof(T) < 4 ? 1 : (int)sizeof(T) / 4;  // at a time: two halves, a float or a double
    constexpr int kNumbers = kWords * 4 / (int)sizeof(T);
#pragma unroll
    for (int w = 0; w < 4 / kWords; ++w) {
      T numbers[kNumbers];
      memcpy(numbers, words + w * kWords, 4 * kWords);
#pragma unroll
      for (int i = 0; i < kNumbers; ++i) out[w * kNumbers + i] = widen(numbers[i]);
    }
  }
  static __device__ __forceinline__ void store(const typename TermOf<T>::type (&in)[kWidth], T* p) {
    T numbers[kWidth];
#pragma unroll
    for (int i = 0; i < kWidth; ++i) narrow(in[i], numbers[i]);
    int4 bits;
    memcpy(&bits, numbers, kLoadBytes);
    *(int4*)p = bits;
  }
};
template <class T>
struct Pack<T, 1> {
  T number;

  static __device__ __forceinline__ Pack load(const T* p) { return {__ldg(p)}; }
  __device__ __forceinline__ void unpack(typename TermOf<T>::type (&out)[1]) const { out[0] = widen(number); }
  static __device__ __forceinline__ void store(const typename TermOf<T>::type (&in)[1], T* p) { narrow(in[0], *p); }
};
template <class T>
constexpr int kWide = kLoadBytes / (int)sizeof(T);  // numbers of a 16-byte load

// `numbers`: every distance between rows and every length, or-ed together.
template <class T>
__host__ __device__ __forceinline__ bool aligned(const void* a, const void* b, int64_t numbers) {
  return (((uint64_t)a | (uint64_t)b | (uint64_t)numbers * sizeof(T)) & (kLoadBytes - 1)) == 0;
}

// -------------------------------------------------------------------------------------------------------------- groups

template <int kSize>
struct Group {
  static constexpr int kLanes = kSize;

  static __device__ __forceinline__ int lane() { return (int)threadIdx.x % kLanes; }
  static __device__ __forceinline__ int first() { return (int)threadIdx.x % 32 / kLanes * kLanes; }
  static __device__ __forceinline__ unsigned mask() { return (0xffffffffu >> (32 - kLanes)) << first(); }

  static __device__ __forceinline__ unsigned ballot(bool yes) { return __ballot_sync(mask(), yes) >> first(); }
  template <class V>
  static __device__ __forceinline__ V from(V value, int lane) { return __shfl_sync(mask(), value, lane, kLanes); }
  template <class V>
  static __device__ __forceinline__ V from_previous(V value) { return __shfl_up_sync(mask(), value, 1, kLanes); }
  // Bit for bit the same in every lane: at each step both partners add the same two numbers.
  template <class V>
  static __device__ __forceinline__ V sum(V value) {
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(mask(), value, step, kLanes);
    return value;
  }
};

// The block's targets are a tile of the picture: the patches of neighbours overlap, so that their reads share the cache.
template <class G>
struct Tile {
  static constexpr int kTargets = kThreads / G::kLanes;
  static constexpr int kColumns = kTargets >= 128 ? 32 : kTargets >= 8 ? 8 : kTargets, kRows = kTargets / kColumns;

  static unsigned blocks(int height, int width) {
    return (unsigned)((height + kRows - 1) / kRows) * (unsigned)((width + kColumns - 1) / kColumns);
  }
  // The group's target; false beyond the edge, where the whole group ends.
  static __device__ __forceinline__ bool place(int height, int width, int& row, int& column) {
    const unsigned across = (unsigned)(width + kColumns - 1) / kColumns, target = threadIdx.x / G::kLanes;
    row = (int)(blockIdx.x / across * kRows + target / kColumns);
    column = (int)(blockIdx.x % across * kColumns + target % kColumns);
    return row < height && column < width;
  }
};

// How a group compares two patches: the `Lanes` of Query.
template <class G>
struct GroupLanes {
  // Sum of squared differences over `rows` runs of `run` numbers; may stop once it reaches `limit`.
  template <class T>
  static __device__ __forceinline__ float squares(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int rows, int run,
                                                  float limit) {
    if (aligned<T>(a, b, a_stride | b_stride | run)) return walk<true, kWide<T>>(a, a_stride, b, b_stride, rows, run, limit);
    return walk<true, 1>(a, a_stride, b, b_stride, rows, run, limit);
  }
  template <class T>
  static __device__ __forceinline__ float dot(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int rows, int run) {
    if (aligned<T>(a, b, a_stride | b_stride | run)) return walk<false, kWide<T>>(a, a_stride, b, b_stride, rows, run, INFINITY);
    return walk<false, 1>(a, a_stride, b, b_stride, rows, run, INFINITY);
  }

 private:
  // Two rows at a time, as if they were one: fewer idle lanes at the end, and a look at the limit costs a reduction.
  template <bool kSquares, int kWidth, class T>
  static __device__ __forceinline__ float walk(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int rows, int run,
                                               float limit) {
    using Term = typename TermOf<T>::type;
    Term part = 0, total = 0;
    for (int row = 0; row < rows; row += 2) {
      const int packs = run / kWidth, count = row + 1 < rows ? 2 * packs : packs;
      add_rows<kSquares, kWidth>(part, a, a_stride - run, b, b_stride - run, packs, count);
      if (kSquares) {
        total = G::sum(part);
        if (total >= limit) break;
      }
      a += 2 * a_stride;
      b += 2 * b_stride;
    }
    return (float)(kSquares ? total : G::sum(part));
  }

  // Packs [0, packs) are of the first row, packs [packs, count) of the second, which lies a gap further on. The loads of a
  // round come before its sums, so that they wait for memory together (more than two a round cost more in registers, and
  // so in warps, than they gain); beyond the end a lane reads the last pack again and drops it.
  template <bool kSquares, int kWidth, class T, class Term>
  static __device__ __forceinline__ void add_rows(Term& part, const T* a, int64_t a_gap, const T* b, int64_t b_gap, int packs,
                                                  int count) {
    constexpr int kRound = 2;
    for (int first = G::lane(); first - G::lane() < count; first += kRound * G::kLanes) {
      Pack<T, kWidth> x[kRound], y[kRound];
#pragma unroll
      for (int u = 0; u < kRound; ++u) {
        const int pack = at_most(first + u * G::kLanes, count - 1);
        x[u] = Pack<T, kWidth>::load(a + (pack < packs ? 0 : a_gap) + pack * kWidth);
        y[u] = Pack<T, kWidth>::load(b + (pack < packs ? 0 : b_gap) + pack * kWidth);
      }
#pragma unroll
      for (int u = 0; u < kRound; ++u) {
        if (first + u * G::kLanes >= count) continue;
        Term p[kWidth], q[kWidth];
        x[u].unpack(p);
        y[u].unpack(q);
#pragma unroll
        for (int i = 0; i < kWidth; ++i) part += kSquares ? (p[i] - q[i]) * (p[i] - q[i]) : p[i] * q[i];
      }
    }
  }
};

// ------------------------------------------------------------------------------------------------------------ launches

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::string message = std::string(what) + ": " + cudaGetErrorString(error);
  if (error == cudaErrorNoKernelImageForDevice) message += " (built for " PSAL_CUDA_ARCHITECTURES ")";
  throw std::runtime_error(message);
}

class DeviceGuard {
 public:
  explicit DeviceGuard(int device) : device_(device) {
    check(cudaGetDevice(&previous_), "cudaGetDevice");
    if (device_ != previous_) check(cudaSetDevice(device_), "cudaSetDevice");
  }
  ~DeviceGuard() {
    if (device_ != previous_) cudaSetDevice(previous_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int device_, previous_ = 0;
};

// Images are blockIdx.y, whose limit a batch may pass: launches `kernel(arguments..., first image)` as often as it takes.
template <class... Parameters, class... Arguments>
void launch(const char* what, const psal_place& place, unsigned blocks, int batch, unsigned layers,
            void (*kernel)(Parameters...), Arguments... arguments) {
  constexpr int kMaxImages = 65535;
  for (int first = 0; first < batch; first += kMaxImages) {
    const dim3 grid(blocks, (unsigned)std::min(batch - first, kMaxImages), layers);
    kernel<<<grid, kThreads, 0, (cudaStream_t)place.stream>>>(arguments..., first);
    check(cudaGetLastError(), what);
  }
}

// Runs a body of launches on the device it names; what goes wrong becomes a message, as nothing may unwind through C.
template <class Body>
const char* run_on(const psal_place& place, Body body) {
  thread_local std::string message;
  try {
    DeviceGuard guard(place.device);
    body();
    return nullptr;
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
}

}  // namespace psal
