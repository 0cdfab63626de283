// What the two halves of the emulated device, scheduler.cpp and memory.cpp, know of each other.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <string>

#include "cuda_runtime.h"

namespace emulation {

constexpr int kWarpLanes = 32, kMaxThreads = 1024;
constexpr size_t kStackBytes = 128 << 10;  // of a thread's fiber

// When an access took place: enough to tell whether a barrier lies between it and another one. Bits, from the top: block 26
// (counted over all launches), barriers of the block so far 12, thread 10, warp barriers of the thread so far 15, atomic 1.
using Stamp = uint64_t;

// The thread that runs.
struct Current {
  uintptr_t stack;        // lowest address
  int index;              // in its block
  uint3 index3;           // the same as threadIdx
  unsigned block, phase;  // as in a stamp
  const uint16_t* clock;  // of each lane of its warp: how many of its warp barriers are known to have come before
};
extern const Current* current;  // NULL outside of kernels

[[noreturn]] void fail(const std::string& finding);  // ends the launch with this report
std::string who(int thread);                         // "thread 3 of block (2, 0, 0)"

// memory.cpp, told by the scheduler.
void begin_launch(const void* parameters, size_t bytes, size_t dynamic_shared, unsigned first_block);
void begin_block();
void end_launch();

}  // namespace emulation
