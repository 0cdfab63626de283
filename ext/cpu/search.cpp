// The schedules of the search on the CPU. Compiled once per instruction set (see dispatch.cpp).
#include <vector>

#include "flood.h"
#include "kernels.h"
#include "scan.h"

namespace psal {
namespace PSAL_ISA {
namespace {

template <class T>
void initialise(const Problem<T>& p, const Field& field, bool has_init, int threads) {
  parallel_for(p.query_height, 8, threads, [&](int64_t row) {
    for (int column = 0; column < p.query_width; ++column)
      if (p.searched(row * p.query_width + column))
        Query<T, VectorLanes>(p, (int)row, column, field.list((int)row, column)).initialise(has_init);
  });
}

template <class T>
void search_images(const psal_search_args& a) {
  const int64_t queries = (int64_t)a.query_height * a.query_width;
  std::vector<Born> born((size_t)queries * a.k);
  for (int64_t image = 0; image < a.batch; ++image) {
    const Problem<T> p = problem_of<T>(a, image);
    const Field field = {a.field + image * queries * a.k, a.best + image * queries * a.k, born.data(), a.query_width, a.k};
    if (a.schedule == PSAL_EXACT) {
      exact(p, field.position, field.similarity, a.place.threads);
      continue;
    }
    initialise(p, field, a.has_init, a.place.threads);
    if (a.schedule == PSAL_SCAN) Scan<T>(p, field, a.place.threads).run(a.iterations);
    else Flood<T>(p, field, a.place.threads).run(a.iterations);
  }
}

}  // namespace

void search(const psal_search_args& a) {
  switch (a.dtype) {
    case PSAL_FLOAT32: return search_images<float>(a);
    case PSAL_FLOAT16: return search_images<Half>(a);
    case PSAL_BFLOAT16: return search_images<Brain>(a);
    default: return search_images<double>(a);
  }
}

}  // namespace PSAL_ISA
}  // namespace psal
