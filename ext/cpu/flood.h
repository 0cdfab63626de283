// The jump-flood schedule: Algorithm 1 of the paper on bands of rows, which run in parallel. No query may see what another one has
// found in the same iteration, so a band keeps what its rows were before: those around it, and the last that it has changed.
#pragma once
#include <string.h>

#include <vector>

#include "field.h"
#include "kernels.h"

namespace psal {
namespace PSAL_ISA {

template <class T>
class Flood {
 public:
  Flood(const Problem<T>& problem, const Field& f, int t)
      : p(problem), field(f), threads(t), band_rows(at_least(kLeastRows, p.query_height / (2 * at_least(t, 1)))),
        bands((p.query_height + band_rows - 1) / band_rows), row_entries((size_t)p.query_width * p.k), edges(2 * kReach * bands, row_entries) {}

  void run(int iterations) {
    for (int iteration = 1; iteration <= iterations; ++iteration) {
      parallel_for(bands, 1, threads, [&](int64_t band) { save_edges((int)band); });
      parallel_for(bands, 1, threads, [&](int64_t band) { run_band((int)band, iteration); });
    }
  }

 private:
  static constexpr int kLeastRows = 64, kReach = 8;  // rows: of a band; of the longest jump

  // Copies of rows of the field.
  struct Rows {
    std::vector<uint32_t> position;
    std::vector<Born> born;
    Rows(size_t rows, size_t row_entries) : position(rows * row_entries), born(position.size()) {}
    void copy(size_t to, const Field& from, int row, size_t row_entries) {
      memcpy(position.data() + to * row_entries, from.position + from.at(row, 0), row_entries * sizeof(uint32_t));
      memcpy(born.data() + to * row_entries, from.born + from.at(row, 0), row_entries * sizeof(Born));
    }
  };

  const Problem<T>& p;
  const Field field;
  const int threads, band_rows, bands;
  const size_t row_entries;
  Rows edges;  // the rows within reach above and below each band

  int top(int band) const { return band * band_rows; }
  int bottom(int band) const { return at_most(top(band) + band_rows, p.query_height); }
  size_t edge(int band, int row) const {
    return (size_t)band * 2 * kReach + (row < top(band) ? row - top(band) + kReach : row - bottom(band) + kReach);
  }

  void save_edges(int band) {
    for (int row = at_least(top(band) - kReach, 0); row < at_most(bottom(band) + kReach, p.query_height); ++row)
      if (row < top(band) || row >= bottom(band)) edges.copy(edge(band, row), field, row, row_entries);
  }

  void run_band(int band, int iteration) {
    Rows changed(kReach + 1, row_entries);  // a ring: what the last rows were
    for (int row = top(band); row < bottom(band); ++row) {
      changed.copy(row % (kReach + 1), field, row, row_entries);
      // What a row was: in the field, unless it is another band's or has been changed.
      const auto old = [&](int from, const auto* unchanged, const auto& of_edges, const auto& of_changed) {
        if (from < top(band) || from >= bottom(band)) return of_edges.data() + edge(band, from) * row_entries;
        if (from <= row) return of_changed.data() + from % (kReach + 1) * row_entries;
        return unchanged + field.at(from, 0);
      };
      const auto position_of = [&](int from) -> const uint32_t* { return old(from, field.position, edges.position, changed.position); };
      const auto born_of = [&](int from) -> const Born* { return old(from, field.born, edges.born, changed.born); };
      for (int column = 0; column < p.query_width; ++column) {
        if (!p.searched((int64_t)row * p.query_width + column)) continue;
        Query<T, VectorLanes>(p, row, column, field.list(row, column)).jump_flood(position_of, born_of, iteration);
      }
    }
  }
};

}  // namespace PSAL_ISA
}  // namespace psal
