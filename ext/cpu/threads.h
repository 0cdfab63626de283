// Loops over rows, tiles or bands on several threads, by a pool of the library's own.
//
// Not OpenMP: a second OpenMP runtime beside torch's slows both, and a wheel would have to carry one. And OpenMP keeps a team
// for each thread that calls: eight Python threads would start eight teams.
#pragma once
#include <stdint.h>

namespace psal {

using Chunk = void (*)(const void* body, int64_t begin, int64_t end);

// Calls chunk(body, begin, end) for the chunks of `grain` that [0, count) is cut into, each exactly once, on the calling thread
// and up to `threads` - 1 others. Returns when all are done. Throws the first exception that a chunk threw; chunks that had
// not begun by then are left out.
void run_chunks(int64_t count, int64_t grain, int threads, Chunk chunk, const void* body);

// Calls body(i) for each i in [0, count). Which thread takes which chunk varies: for one result with any number of threads,
// body(i) must not depend on it.
template <class Body>
void parallel_for(int64_t count, int64_t grain, int threads, const Body& body) {
  const Chunk chunk = [](const void* of, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) (*(const Body*)of)(i);
  };
  run_chunks(count, grain, threads, chunk, &body);
}

}  // namespace psal
