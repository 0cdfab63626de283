// Runs the threads of a block as fibers, one at a time, until each waits for others or ends; blocks run one after another.
// What is undefined on a device is reported: lanes of one mask that do not meet, a shuffle from a lane that takes no part, a
// barrier that not all threads of the block reach, threads that wait for ever.
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <mutex>

#include "machine.h"

namespace emulation {
const Current* current;

namespace {

struct Thread {
  Current view;
  uint16_t clock[kWarpLanes];
  jmp_buf context;
  bool started = false;  // has a fiber, which waits for the next block
  const void* value;     // of the exchange it waits in
  void* result;
  int argument, width;
};

// Lanes of a warp that wait for each other, by the lowest lane of their mask.
struct Meeting {
  unsigned arrived, mask;
  Exchange kind;
  Place place;
  size_t bytes;
};
struct Warp {
  unsigned exited, waiting;  // lanes; meetings, of whose lanes some have arrived
  Meeting meetings[kWarpLanes];
};

std::mutex one_launch_at_a_time;
std::string finding;  // of the checks; empty while there is none
cudaError_t last_error = cudaSuccess;

Thread threads[kMaxThreads];
Warp warps[kMaxThreads / kWarpLanes];
jmp_buf launcher;
void (*kernel)(void*);
void* kernel_arguments;
dim3 grid, block;
uint3 block_at;
int total, alive, at_barrier;
Place barrier_place;
unsigned blocks_so_far = 0;  // of all launches
int ready[kMaxThreads], ready_first, ready_count;

void make_ready(int index) { ready[(ready_first + ready_count++) % kMaxThreads] = index; }

char* stacks() {
  static char* const memory = (char*)mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory;
}

void live();

// Continues the first thread that is ready. Returns when the caller, whose context is saved, is continued in its turn.
void switch_from(jmp_buf& caller) {
  if (_setjmp(caller)) return;
  if (!ready_count) {
    int waiting = 0;
    while (warps[waiting / kWarpLanes].exited >> waiting % kWarpLanes & 1) ++waiting;
    fail("deadlock: " + who(waiting) + " and " + std::to_string(alive - 1) + " others wait for each other" +
         (at_barrier ? ", " + std::to_string(at_barrier) + " of them at __syncthreads in line " +
                           std::to_string(barrier_place.line) + " (divergent __syncthreads)" : ""));
  }
  Thread& next = threads[ready[ready_first]];
  ready_first = (ready_first + 1) % kMaxThreads;
  --ready_count;
  current = &next.view;
  if (next.started) _longjmp(next.context, 1);
  next.started = true;
  static ucontext_t fresh;
  getcontext(&fresh);
  fresh.uc_stack.ss_sp = (void*)next.view.stack;
  fresh.uc_stack.ss_size = kStackBytes;
  fresh.uc_link = nullptr;
  makecontext(&fresh, live, 0);
  setcontext(&fresh);
}

Thread& me() { return threads[current->index]; }

std::string line_of(Place place) { return std::string(place.file) + ":" + std::to_string(place.line); }

void merge_clocks(Warp& warp, unsigned lanes) {
  Thread* const first = threads + (&warp - warps) * kWarpLanes;
  uint16_t merged[kWarpLanes] = {};
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if (!(lanes >> lane & 1)) continue;
    if (++first[lane].clock[lane] >= 32767) fail("more warp barriers in one block than the emulation can count");
    for (int i = 0; i < kWarpLanes; ++i) merged[i] = std::max(merged[i], first[lane].clock[i]);
  }
  for (int lane = 0; lane < kWarpLanes; ++lane)
    if (lanes >> lane & 1) memcpy(first[lane].clock, merged, sizeof merged);
}

int source_of(Exchange kind, int lane, int argument, int width) {
  const int low = lane / width * width;
  switch (kind) {
    case Exchange::kShuffle: return low + (argument & (width - 1));
    case Exchange::kShuffleUp: return lane - argument < low ? lane : lane - argument;
    case Exchange::kShuffleDown: return lane + argument >= low + width ? lane : lane + argument;
    default: return (lane ^ argument) >= low + width ? lane : lane ^ argument;
  }
}

// All lanes of the mask that have not ended are there: each gets its result, and all but the running thread become ready.
void complete(Warp& warp, Meeting& meeting) {
  const unsigned lanes = meeting.arrived;
  const int first = (int)(&warp - warps) * kWarpLanes;
  meeting.arrived = 0;
  warp.waiting &= ~(1u << __builtin_ctz(meeting.mask));
  if (meeting.kind == Exchange::kSync) merge_clocks(warp, lanes);
  unsigned votes = 0;
  if (meeting.kind == Exchange::kBallot)
    for (int lane = 0; lane < kWarpLanes; ++lane)
      if (lanes >> lane & 1) votes |= (unsigned)*(const bool*)threads[first + lane].value << lane;
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if (!(lanes >> lane & 1)) continue;
    Thread& thread = threads[first + lane];
    if (meeting.kind == Exchange::kBallot) memcpy(thread.result, &votes, sizeof votes);
    else if (meeting.kind != Exchange::kSync) {
      const int source = source_of(meeting.kind, lane, thread.argument, thread.width);
      if (source >= kWarpLanes || !(lanes >> source & 1))
        fail("undefined shuffle: " + who(first + lane) + " reads lane " + std::to_string(source) + ", which takes no part, in " +
             line_of(meeting.place));
      memcpy(thread.result, threads[first + source].value, meeting.bytes);
    }
    if (&thread.view != current) make_ready(first + lane);
  }
}

bool all_there(const Warp& warp, const Meeting& meeting) {
  return !(meeting.mask & ~(meeting.arrived | warp.exited));
}

// The end of a thread, which may be what others waited for.
void leave() {
  const int index = current->index;
  Warp& warp = warps[index / kWarpLanes];
  if (at_barrier) fail("divergent __syncthreads: " + who(index) + " ends while others wait in " + line_of(barrier_place));
  warp.exited |= 1u << index % kWarpLanes;
  for (int lane = 0; lane < kWarpLanes && warp.waiting; ++lane)
    if ((warp.waiting >> lane & 1) && all_there(warp, warp.meetings[lane])) complete(warp, warp.meetings[lane]);
  if (--alive) return switch_from(threads[index].context);
  if (!_setjmp(threads[index].context)) _longjmp(launcher, 1);
}

void live() {  // a fiber's whole life: one block after another
  for (;;) {
    kernel(kernel_arguments);
    leave();
  }
}

void run_block() {
  begin_block();
  alive = total;
  at_barrier = ready_first = ready_count = 0;
  blocks_so_far = (blocks_so_far + 1) % (1u << 26);  // wraps after 67 million, which no test session runs
  for (int i = 0; i * kWarpLanes < total; ++i) warps[i].exited = warps[i].waiting = 0;
  for (int i = 0; i < total; ++i) {
    Thread& thread = threads[i];
    const unsigned n = (unsigned)i;
    const uint3 index3 = {n % block.x, n / block.x % block.y, n / block.x / block.y};
    thread.view = {(uintptr_t)stacks() + i * kStackBytes, i, index3, blocks_so_far, 0, thread.clock};
    memset(thread.clock, 0, sizeof thread.clock);
    make_ready(i);
  }
  switch_from(launcher);
  current = nullptr;
  if (!finding.empty())
    for (Thread& thread : threads) thread.started = false;  // wherever they are, they are given up
}

}  // namespace

void fail(const std::string& what) {
  finding = what;
  _longjmp(launcher, 1);
}

std::string who(int thread) {
  const auto at = [](unsigned x, unsigned y, unsigned z) {
    return "(" + std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(z) + ")";
  };
  return "thread " + std::to_string(thread) + " of block " + at(block_at.x, block_at.y, block_at.z);
}

void run(dim3 grid_, dim3 block_, size_t shared, void (*body)(void*), void* arguments, size_t argument_bytes) {
  const std::lock_guard<std::mutex> lock(one_launch_at_a_time);
  const uint64_t size = (uint64_t)block_.x * block_.y * block_.z;
  const bool empty = !size || !grid_.x || !grid_.y || !grid_.z;
  if (empty || size > kMaxThreads || block_.z > 64 || grid_.x > 0x7fffffffu || grid_.y > 65535 || grid_.z > 65535) {
    last_error = cudaErrorInvalidConfiguration;
    return;
  }
  grid = grid_, block = block_, kernel = body, kernel_arguments = arguments, total = (int)size;
  finding.clear();
  begin_launch(arguments, argument_bytes, shared, blocks_so_far + 1);
  for (block_at.z = 0; block_at.z < grid.z; ++block_at.z)
    for (block_at.y = 0; block_at.y < grid.y; ++block_at.y)
      for (block_at.x = 0; block_at.x < grid.x && finding.empty(); ++block_at.x) run_block();
  end_launch();
  if (!finding.empty()) last_error = cudaErrorLaunchFailure;
}

uint3 thread_index() { return current->index3; }
uint3 block_index() { return block_at; }
dim3 block_size() { return block; }
dim3 grid_size() { return grid; }

void exchange(Exchange kind, Place place, unsigned mask, const void* value, void* result, size_t bytes, int argument, int width) {
  Thread& thread = me();
  Warp& warp = warps[current->index / kWarpLanes];
  const unsigned own = 1u << current->index % kWarpLanes;
  if (!(mask & own)) fail("divergent warp: " + who(current->index) + " is not in the mask that it names in " + line_of(place));
  if (width < 1 || width > kWarpLanes || width & (width - 1)) fail("a shuffle's width is " + std::to_string(width));
  const int lowest = __builtin_ctz(mask);
  Meeting& meeting = warp.meetings[lowest];
  if (!(warp.waiting >> lowest & 1)) meeting = {0, mask, kind, place, bytes};
  warp.waiting |= 1u << lowest;
  if (meeting.mask != mask || meeting.kind != kind || meeting.place.line != place.line)
    fail("divergent warp: " + who(current->index) + " is in " + line_of(place) + ", others of its mask in " + line_of(meeting.place));
  meeting.arrived |= own;
  thread.value = value, thread.result = result, thread.argument = argument, thread.width = width;
  if (all_there(warp, meeting)) complete(warp, meeting);
  else switch_from(thread.context);
}

void barrier(Place place) {
  if (alive < total) fail("divergent __syncthreads: " + who(current->index) + " waits in " + line_of(place) + ", others have ended");
  if (!at_barrier) barrier_place = place;
  if (barrier_place.line != place.line)
    fail("divergent __syncthreads: " + who(current->index) + " is in " + line_of(place) + ", others in " + line_of(barrier_place));
  if (++at_barrier < total) return switch_from(me().context);
  at_barrier = 0;
  for (int i = 0; i < total; ++i) {
    if (++threads[i].view.phase >= 4096) fail("more barriers in one block than the emulation can count");
    if (i != current->index) make_ready(i);
  }
}

}  // namespace emulation

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetLastError() {
  const cudaError_t error = emulation::last_error;
  emulation::last_error = cudaSuccess;
  return error;
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorNoKernelImageForDevice: return "no kernel image is available for execution on the device";
    default: return emulation::finding.c_str();
  }
}
