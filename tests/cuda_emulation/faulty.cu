// Kernels with one deliberate fault each, and the same without it: what the emulation must report, and what it must not.
// Every one is launched as two blocks of 64 threads on `data`, which has a number for each thread of a block.
#include <cuda_runtime.h>
#include <string.h>

namespace {

constexpr int kThreads = 64;

__global__ void reverse(float* data) {
  __shared__ float tile[kThreads];
  if (blockIdx.x) return;
  tile[threadIdx.x] = data[threadIdx.x];
  __syncthreads();
  data[threadIdx.x] = tile[kThreads - 1 - threadIdx.x];
}
__global__ void reverse_without_barrier(float* data) {
  __shared__ float tile[kThreads];
  if (blockIdx.x) return;
  tile[threadIdx.x] = data[threadIdx.x];
  data[threadIdx.x] = tile[kThreads - 1 - threadIdx.x];
}
__global__ void swap_without_barrier(float* data) {
  __shared__ float tile[kThreads];
  if (blockIdx.x) return;
  tile[threadIdx.x] = data[threadIdx.x];
  if (threadIdx.x % 2) data[threadIdx.x] = tile[threadIdx.x - 1];
}
__global__ void reverse_warp(float* data) {
  extern __shared__ float tile[];
  if (blockIdx.x) return;
  tile[threadIdx.x] = data[threadIdx.x];
  __syncwarp();
  data[threadIdx.x] = tile[threadIdx.x ^ 31];
}
__global__ void reverse_warp_without_barrier(float* data) {
  extern __shared__ float tile[];
  if (blockIdx.x) return;
  tile[threadIdx.x] = data[threadIdx.x];
  const float unordered = __shfl_sync(0xffffffffu, data[threadIdx.x], 0);  // a shuffle orders no memory
  data[threadIdx.x] = tile[threadIdx.x ^ 31] + 0 * unordered;
}
__global__ void sum_atomically(float* data) {
  atomicAdd(data, 1.f);
}
__global__ void sum(float* data) {
  if (blockIdx.x == 0) data[0] += 1;
}
__global__ void sum_half_atomically(float* data) {
  if (threadIdx.x) atomicAdd(data, 1.f);
  else if (blockIdx.x) data[0] = 0;
}
__global__ void blocks_share_a_number(float* data) {
  if (threadIdx.x == 0 && blockIdx.x == 0) data[5] = 1;
  if (threadIdx.x == 9 && blockIdx.x == 1) data[6] = data[5];
}
__global__ void shift_in_place(float* data) {
  if (blockIdx.x == 0 && threadIdx.x > 0) data[threadIdx.x - 1] = data[threadIdx.x];
}
__global__ void read_beyond(float* data) {
  data[threadIdx.x] = data[kThreads];
}
__global__ void write_before(float* data) {
  if (blockIdx.x == 1 && threadIdx.x == 3) data[-1] = 0;
}
__global__ void read_beyond_shared(float* data) {
  __shared__ float tile[kThreads];
  tile[threadIdx.x] = 0;
  __syncthreads();
  if (threadIdx.x == 7) data[0] = tile[threadIdx.x + kThreads - 7];
}
__global__ void read_uninitialised_shared(float* data) {
  __shared__ float tile[kThreads];
  if (blockIdx.x == 0 || threadIdx.x != 5) tile[threadIdx.x] = 1;
  __syncthreads();
  if (threadIdx.x == 0 && blockIdx.x == 1) data[0] = tile[5];
}
__global__ void load_misaligned(float* data) {
  const int4 four = __ldg((const int4*)(data + 1));
  if (four.x + four.y + four.z + four.w == 1) data[threadIdx.x] = 0;
}
__global__ void barrier_in_a_branch(float* data) {
  if (threadIdx.x < 32) __syncthreads();
  if (data[0] == 1 && threadIdx.x == 0) __syncthreads();
}
__global__ void barrier_in_both_branches(float*) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void barrier_after_an_end(float*) {
  if (threadIdx.x == 0) return;
  __syncthreads();
}
__global__ void barrier_against_shuffle(float* data) {
  if (threadIdx.x % 32 < 16) __syncthreads();
  else data[threadIdx.x] = __shfl_sync(0xffffffffu, 1.f, 0);
}
__global__ void shuffle_from_an_ended_lane(float* data) {
  if (threadIdx.x % 32 >= 16 || blockIdx.x) return;
  data[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.f, 16);
}
__global__ void shuffle_outside_the_mask(float* data) {
  data[threadIdx.x] = __shfl_sync(0xffffu, 1.f, 0);
}
__global__ void shuffles_that_differ(float*) {
  if (threadIdx.x % 2) __shfl_sync(0xffffffffu, 1.f, 0);
  else __shfl_up_sync(0xffffffffu, 1.f, 1);
}
// What the exchanges are defined to give: each number is 1 where it is right.
__global__ void exchanges(float* data) {
  if (blockIdx.x) return;
  const int lane = (int)threadIdx.x % 32;
  const unsigned all = 0xffffffffu;
  bool right = __shfl_sync(all, lane, lane + 1, 8) == (lane & ~7) + (lane + 1) % 8;
  right &= __shfl_up_sync(all, lane, 3, 16) == (lane % 16 < 3 ? lane : lane - 3);
  right &= __shfl_down_sync(all, lane, 3, 16) == (lane % 16 > 12 ? lane : lane + 3);
  right &= __shfl_xor_sync(all, lane, 5) == (lane ^ 5);
  right &= __shfl_xor_sync(all, (double)lane, 8, 8) == (lane % 16 < 8 ? lane : lane - 8);
  right &= __ballot_sync(all, lane % 3 == 0) == 0x49249249u;
  if (lane < 8) right &= __ballot_sync(0xffu, lane < 2) == 3u;
  data[threadIdx.x] = right;
}

struct Named {
  const char* name;
  void (*kernel)(float*);
};
#define NAMED(kernel) {#kernel, kernel}
const Named kernels[] = {
    NAMED(reverse), NAMED(reverse_without_barrier), NAMED(swap_without_barrier), NAMED(reverse_warp), NAMED(reverse_warp_without_barrier),
    NAMED(sum_atomically), NAMED(sum), NAMED(sum_half_atomically), NAMED(blocks_share_a_number), NAMED(shift_in_place),
    NAMED(read_beyond), NAMED(write_before), NAMED(read_beyond_shared), NAMED(read_uninitialised_shared), NAMED(load_misaligned),
    NAMED(barrier_in_a_branch), NAMED(barrier_in_both_branches), NAMED(barrier_after_an_end), NAMED(barrier_against_shuffle),
    NAMED(shuffle_from_an_ended_lane), NAMED(shuffle_outside_the_mask), NAMED(shuffles_that_differ), NAMED(exchanges),
};

}  // namespace

// Runs the kernel of that name; returns what the emulation found, or NULL.
extern "C" __attribute__((visibility("default"))) const char* emulation_run(const char* name, float* data, unsigned threads) {
  for (const Named& one : kernels) {
    if (strcmp(one.name, name)) continue;
    one.kernel<<<2, threads, kThreads * sizeof(float)>>>(data);
    const cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
  }
  return "no such kernel";
}
