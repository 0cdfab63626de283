// psal's own search with a counter where the patches are compared: the schedules are compiled from the very same source
// text, with the lanes that sum one patch replaced by lanes that also count. It is slower than the library, so
// the benchmark never times it; it finds the same field, and the benchmark checks that it does.
// Compiled by bench_engine.py with -I ext and the library's instruction set.
#include <math.h>

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#define PSAL_ISA counted
#include "cpu/kernels.h"

namespace {

struct alignas(64) Count {  // a cache line for each thread
  int64_t distances, terms;
};
Count counts[1024];

Count& mine() {
  static std::atomic<int> threads{0};
  thread_local const int number = threads++ % 1024;
  return counts[number];
}

}  // namespace

namespace psal {
namespace counted {

struct CountingLanes {
  template <class T>
  static float squares(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int rows, int run, float limit) {
    // VectorLanes::squares looks at the limit after every second row: the first prefix that reaches it is where it stopped.
    int summed = 2;
    while (summed < rows && VectorLanes::squares(a, a_stride, b, b_stride, summed, run, INFINITY) < limit) summed += 2;
    add(std::min(summed, rows), run);
    return VectorLanes::squares(a, a_stride, b, b_stride, rows, run, limit);
  }
  template <class T>
  static float dot(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int rows, int run) {
    add(rows, run);
    return VectorLanes::dot(a, a_stride, b, b_stride, rows, run);
  }
  static void add(int rows, int run) {
    Count& count = mine();
    count.distances += 1;
    count.terms += (int64_t)rows * run;
  }
};

}  // namespace counted
}  // namespace psal

#define VectorLanes CountingLanes
#include "cpu/exact.cpp"
#include "cpu/search.cpp"
#include "cpu/threads.cpp"

// Runs the search and sets out[0] to the distances evaluated and out[1] to the squared differences summed for them.
extern "C" __attribute__((visibility("default"))) void count_search(const psal_search_args* args, int64_t* out) {
  for (Count& count : counts) count = {0, 0};
  psal::counted::search(*args);
  out[0] = out[1] = 0;
  for (const Count& count : counts) out[0] += count.distances, out[1] += count.terms;
}
