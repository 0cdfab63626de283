// The emulated device's memory, and the checks of every access of a kernel: inside one allocation, aligned, initialised, no
// write to an input, and no race. The compiler calls the hooks at the end of this file before each access (see build.py).
//
// A race is two accesses of different threads to the same bytes, at least one of them a write and not both atomic, that no
// barrier separates. For each granule the last write and two of the reads since are kept, as stamps.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "machine.h"

namespace emulation {
namespace {

enum class Access { kRead, kWrite, kAtomic };

struct Cell {
  Stamp writer, readers[2];
};

struct Allocation {
  std::string name;
  std::unique_ptr<char, void (*)(void*)> memory{nullptr, free};
  uintptr_t begin;
  size_t bytes, granule;
  bool constant;     // an input of the kernel: only the host writes it
  const void* key;   // of shared memory: what declares it; else NULL
  std::vector<Cell> cells;
  std::vector<char> initialised;

  Allocation(std::string name_, size_t bytes_, size_t granule_, size_t offset, bool constant_, const void* key_)
      : name(std::move(name_)), bytes(bytes_), granule(granule_), constant(constant_), key(key_) {
    constexpr size_t kAlignment = 512;  // that of cudaMalloc is 256, of torch's allocator 512
    const size_t whole = (offset + bytes + kAlignment) / kAlignment * kAlignment;
    memory.reset((char*)aligned_alloc(kAlignment, whole));
    memset(memory.get(), 0xa5, whole);
    begin = (uintptr_t)memory.get() + offset;
    if (!constant) cells.resize((bytes + granule - 1) / granule), initialised.resize(cells.size());
  }
  bool holds(uintptr_t at) const { return at - begin < bytes; }
};

std::vector<std::unique_ptr<Allocation>> allocations;
Allocation* recent[2];  // the last two that were hit: mostly query and key
uintptr_t parameters, parameter_bytes;
unsigned first_block;  // of this launch

constexpr size_t kMaxShared = 48 << 10;
const char kDynamic = 0;  // the key of dynamic shared memory

Allocation* find(uintptr_t at) {
  if (recent[0] && recent[0]->holds(at)) return recent[0];
  if (recent[1] && recent[1]->holds(at)) {
    std::swap(recent[0], recent[1]);
    return recent[0];
  }
  for (const auto& allocation : allocations)
    if (allocation->holds(at)) {
      recent[1] = recent[0];
      return recent[0] = allocation.get();
    }
  return nullptr;
}

Allocation& add(std::string name, size_t bytes, size_t granule, size_t offset, bool constant, const void* key) {
  allocations.push_back(std::make_unique<Allocation>(std::move(name), bytes, granule, offset, constant, key));
  return *allocations.back();
}

template <class Condition>
void remove_if(Condition condition) {
  recent[0] = recent[1] = nullptr;
  allocations.erase(std::remove_if(allocations.begin(), allocations.end(), condition), allocations.end());
}

Stamp stamp_of(const Current& c, bool atomic) {
  return (Stamp)c.block << 38 | (Stamp)c.phase << 26 | (Stamp)c.index << 16 | (Stamp)c.clock[c.index % kWarpLanes] << 1 | atomic;
}
int thread_of(Stamp stamp) { return (int)(stamp >> 16 & 1023); }

// Whether nothing orders an earlier access before what the running thread does now.
bool concurrent(Stamp earlier, const Allocation& allocation) {
  const Current& c = *current;
  const unsigned block = (unsigned)(earlier >> 38), phase = (unsigned)(earlier >> 26 & 4095);
  if (block < first_block) return false;                  // an earlier launch, or none
  if (block != c.block) return !allocation.key;           // blocks have no order, but shared memory of their own
  const int thread = thread_of(earlier);
  if (thread == c.index || phase < c.phase) return false;
  if (thread / kWarpLanes != c.index / kWarpLanes) return true;
  return c.clock[thread % kWarpLanes] <= (earlier >> 1 & 32767);
}

const char* verb(Access kind) { return kind == Access::kRead ? "reads " : kind == Access::kWrite ? "writes " : "atomically changes "; }

// `code`: the address of the instruction, for addr2line.
[[noreturn]] void report(const char* what, Access kind, uintptr_t at, size_t bytes, const void* code, const std::string& more) {
  Dl_info module = {};
  dladdr(code, &module);
  char place[32];
  snprintf(place, sizeof place, "%+td", (const char*)code - (const char*)module.dli_fbase);
  // The allocation that the access is in, or the last one before it.
  const Allocation* nearest = nullptr;
  for (const auto& a : allocations)
    if (a->begin <= at && (!nearest || a->begin > nearest->begin)) nearest = a.get();
  std::string where = " of memory that is not the device's";
  if (nearest && at - nearest->begin < nearest->bytes + 4096)
    where = " at byte " + std::to_string(at - nearest->begin) + " of " + nearest->name + ", which has " +
            std::to_string(nearest->bytes);
  fail(std::string(what) + ": " + who(current->index) + " " + verb(kind) + std::to_string(bytes) + " bytes" + where + more +
       " (code at " + place + ")");
}

[[noreturn]] void report_race(const char* other, Stamp stamp, Access kind, uintptr_t at, size_t bytes, const void* code) {
  const bool same_block = stamp >> 38 == current->block;
  const std::string whom = "thread " + std::to_string(thread_of(stamp)) + (same_block ? " of the same block" : " of another block");
  report("race", kind, at, bytes, code, "; " + whom + " " + other + " it, and no barrier is between");
}

void check_cell(Allocation& a, Cell& cell, Access kind, uintptr_t at, size_t bytes, const void* code) {
  const bool both_atomic = kind == Access::kAtomic && (cell.writer & 1);
  if (!both_atomic && concurrent(cell.writer, a)) report_race("wrote", cell.writer, kind, at, bytes, code);
  const Stamp now = stamp_of(*current, kind == Access::kAtomic);
  if (kind != Access::kRead) {
    for (const Stamp reader : cell.readers)
      if (concurrent(reader, a)) report_race("read", reader, kind, at, bytes, code);
    cell.writer = now;
    return;
  }
  // Of the reads that a later write may race with, those of two threads suffice: it is not by both of them.
  const bool first = !concurrent(cell.readers[0], a);
  if (first) cell.readers[0] = now;
  else if (thread_of(cell.readers[0]) != current->index && !concurrent(cell.readers[1], a)) cell.readers[1] = now;
}

void access(const void* address, size_t bytes, Access kind, size_t alignment, const void* code) {
  if (!current) return;
  const uintptr_t at = (uintptr_t)address;
  if (at - current->stack < kStackBytes) return;  // a local variable
  if (kind == Access::kRead && at - parameters < parameter_bytes) return;
  Allocation* found = find(at);
  if (!found || at - found->begin + bytes > found->bytes) report("out of bounds", kind, at, bytes, code, "");
  if (at % alignment) report("misaligned", kind, at, bytes, code, "");
  if (found->constant) {
    if (kind != Access::kRead) report("write to an input", kind, at, bytes, code, "");
    return;
  }
  const size_t first = (at - found->begin) / found->granule, last = (at - found->begin + bytes - 1) / found->granule;
  for (size_t i = first; i <= last; ++i) {
    check_cell(*found, found->cells[i], kind, at, bytes, code);
    if (kind != Access::kWrite && !found->initialised[i]) report("uninitialised", kind, at, bytes, code, "");
    found->initialised[i] = 1;
  }
}

}  // namespace

void begin_launch(const void* arguments, size_t bytes, size_t dynamic_shared, unsigned block) {
  parameters = (uintptr_t)arguments;
  parameter_bytes = bytes;
  first_block = block;
  if (dynamic_shared) add("dynamic shared memory", dynamic_shared, 1, 0, false, &kDynamic);
}

void begin_block() {
  for (const auto& a : allocations)
    if (a->key) std::fill(a->initialised.begin(), a->initialised.end(), 0);
}

void end_launch() {
  remove_if([](const auto& a) { return a->key != nullptr; });
}

void* shared_memory(const void* key, size_t bytes) {
  size_t total = bytes;
  for (const auto& a : allocations) {
    if (a->key == key) return (void*)a->begin;
    if (a->key) total += a->bytes;
  }
  if (total > kMaxShared) fail("a block takes " + std::to_string(total) + " bytes of shared memory, more than there are");
  return (void*)add("shared memory", bytes, 1, 0, false, key).begin;
}
void* dynamic_shared_memory() { return shared_memory(&kDynamic, 0); }

void vector_access(const void* address, size_t bytes) {
  access(address, bytes, Access::kRead, bytes, __builtin_return_address(0));
}
void atomic_access(const void* address, size_t bytes) {
  access(address, bytes, Access::kAtomic, bytes, __builtin_return_address(0));
}

}  // namespace emulation

// -------------------------------------------------------------------------------------------------------- for the tests

#define EXPORT extern "C" __attribute__((visibility("default")))

// Memory of the device. granule: the smallest unit that threads share without racing, a number's size. offset: from where an
// allocator would begin, so that alignment can be taken away. constant: the kernels may only read it.
EXPORT void* emulation_allocate(const char* name, size_t bytes, size_t granule, size_t offset, int constant) {
  return (void*)emulation::add(name, bytes, granule, offset, constant, nullptr).begin;
}
EXPORT void emulation_release(void* memory) {
  emulation::remove_if([=](const auto& a) { return a->begin == (uintptr_t)memory; });
}
EXPORT void emulation_upload(void* memory, const void* host, size_t bytes) {
  memcpy(memory, host, bytes);
  for (const auto& a : emulation::allocations)
    if (a->begin == (uintptr_t)memory) std::fill(a->initialised.begin(), a->initialised.end(), 1);
}

// ---------------------------------------------------------------------------------- what the compiler calls at an access

#define HOOK extern "C" __attribute__((visibility("hidden"))) void
#define CHECK(kind, bytes, alignment) \
  emulation::access(address, bytes, emulation::Access::kind, alignment, __builtin_return_address(0))
#define SIZED(bytes)                                                                     \
  HOOK __tsan_read##bytes(void* address) { CHECK(kRead, bytes, bytes); }                 \
  HOOK __tsan_write##bytes(void* address) { CHECK(kWrite, bytes, bytes); }               \
  HOOK __tsan_unaligned_read##bytes(void* address) { CHECK(kRead, bytes, 1); }           \
  HOOK __tsan_unaligned_write##bytes(void* address) { CHECK(kWrite, bytes, 1); }         \
  HOOK __tsan_volatile_read##bytes(void* address) { CHECK(kRead, bytes, bytes); }        \
  HOOK __tsan_volatile_write##bytes(void* address) { CHECK(kWrite, bytes, bytes); }
SIZED(1)
SIZED(2)
SIZED(4)
SIZED(8)
SIZED(16)

HOOK __tsan_init() {}
HOOK __tsan_func_entry(void*) {}
HOOK __tsan_func_exit() {}
HOOK __tsan_vptr_update(void**, void*) {}
HOOK __tsan_vptr_read(void**) {}
HOOK __tsan_read_range(void* address, size_t bytes) { CHECK(kRead, bytes, 1); }
HOOK __tsan_write_range(void* address, size_t bytes) { CHECK(kWrite, bytes, 1); }
