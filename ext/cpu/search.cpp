// The schedules of the search on the CPU. Compiled once per instruction set (see dispatch.cpp).
#include <string.h>

#include <vector>

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

// Jump flooding, as many rows at a time as one thread copies: no query may see what another has found in the same iteration.
template <class T>
class Flood {
 public:
  Flood(const Problem<T>& problem, const Field& f, int t)
      : p(problem), field(f), threads(t), bands((p.query_height + kFloodRows - 1) / kFloodRows), row_entries((size_t)p.query_width * p.k) {
    edge_position.resize(2 * kReach * bands * row_entries);
    edge_born.resize(edge_position.size());
  }

  void run(int iterations) {
    for (int iteration = 1; iteration <= iterations; ++iteration) {
      parallel_for(bands, 1, threads, [&](int64_t band) { save_edges((int)band); });
      parallel_for(bands, 1, threads, [&](int64_t band) { run_band((int)band, iteration); });
    }
  }

 private:
  static constexpr int kFloodRows = 64, kReach = 8;  // rows: of a band; of the longest jump

  const Problem<T>& p;
  const Field field;
  const int threads, bands;
  const size_t row_entries;
  std::vector<uint32_t> edge_position;  // the rows within reach above and below each band, as they were before the iteration
  std::vector<uint16_t> edge_born;

  int top(int band) const { return band * kFloodRows; }
  int bottom(int band) const { return at_most(top(band) + kFloodRows, p.query_height); }

  // Calls visit(row, place in the edges) for the rows around a band.
  template <class Visit>
  void each_edge(int band, Visit visit) const {
    for (int i = 0; i < 2 * kReach; ++i) {
      const int row = i < kReach ? top(band) - kReach + i : bottom(band) + i - kReach;
      if (row >= 0 && row < p.query_height) visit(row, ((size_t)band * 2 * kReach + i) * row_entries);
    }
  }

  void save_edges(int band) {
    each_edge(band, [&](int row, size_t at) {
      memcpy(edge_position.data() + at, field.position + field.at(row, 0), row_entries * sizeof(uint32_t));
      memcpy(edge_born.data() + at, field.born + field.at(row, 0), row_entries * sizeof(uint16_t));
    });
  }

  void run_band(int band, int iteration) {
    const int first = at_least(top(band) - kReach, 0), last = at_most(bottom(band) + kReach, p.query_height);
    std::vector<uint32_t> position((last - first) * row_entries);
    std::vector<uint16_t> born(position.size());
    const auto copy = [&](int row, const uint32_t* positions, const uint16_t* iterations) {
      memcpy(position.data() + (row - first) * row_entries, positions, row_entries * sizeof(uint32_t));
      memcpy(born.data() + (row - first) * row_entries, iterations, row_entries * sizeof(uint16_t));
    };
    each_edge(band, [&](int row, size_t at) { copy(row, edge_position.data() + at, edge_born.data() + at); });
    for (int row = top(band); row < bottom(band); ++row) copy(row, field.position + field.at(row, 0), field.born + field.at(row, 0));
    for (int row = top(band); row < bottom(band); ++row)
      for (int column = 0; column < p.query_width; ++column) {
        if (!p.searched((int64_t)row * p.query_width + column)) continue;
        Query<T, VectorLanes> query(p, row, column, field.list(row, column));
        query.jump_flood(position.data(), born.data(), first, iteration);
      }
  }
};

template <class T>
void search_images(const psal_search_args& a) {
  const int64_t queries = (int64_t)a.query_height * a.query_width;
  std::vector<uint16_t> born((size_t)queries * a.k);
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
