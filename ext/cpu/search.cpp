// The schedules of the search on the CPU. Compiled once per instruction set (see dispatch.cpp).
#include <string.h>

#include <optional>
#include <vector>

#include "hashing.h"
#include "kernels.h"

namespace psal {
namespace PSAL_ISA {
namespace {

constexpr int kBandRows = 32;  // scan order runs inside bands, bands run in parallel

// The field of one image: k matches a query, and the iteration in which each entered its list.
struct Field {
  uint32_t* position;
  float* similarity;
  uint16_t* born;
  int width, k;
  int64_t at(int row, int column) const { return ((int64_t)row * width + column) * k; }
  Neighbours list(int row, int column) const {
    const int64_t i = at(row, column);
    return {position + i, similarity + i, born + i, k};
  }
};

template <class T, class Visit>
void each_query(const Problem<T>& p, int threads, const Field& field, Visit visit) {
  parallel_for(p.query_height, 8, threads, [&](int64_t row) {
    for (int column = 0; column < p.query_width; ++column) {
      if (!p.searched(row * p.query_width + column)) continue;
      Query<T, VectorLanes> query(p, (int)row, column, field.list((int)row, column));
      visit(query);
    }
  });
}

// Scan order inside a band: the previous column and the previous row are already up to date. The row before
// a band belongs to another thread, so it is read as it was when the iteration began: `edge` (kBandRows apart).
template <class T>
void scan_band(const Problem<T>& p, const Field& field, int band, const Field& edge, const Buckets<T>* buckets, int iteration) {
  const bool forward = iteration % 2;
  const int step = forward ? 1 : -1;
  const int top = band * kBandRows, bottom = at_most(top + kBandRows, p.query_height) - 1;
  std::vector<uint16_t> codes;
  if (buckets) buckets->query_codes(top, bottom + 1, codes);
  for (int row = forward ? top : bottom; row >= top && row <= bottom; row += step)
    for (int i = 0; i < p.query_width; ++i) {
      const int column = forward ? i : p.query_width - 1 - i;
      if (!p.searched((int64_t)row * p.query_width + column)) continue;
      Query<T, VectorLanes> query(p, row, column, field.list(row, column));
      // A match is offered once per direction: what was there two iterations ago has been tried.
      const int since = iteration <= 2 ? 0 : iteration - 1;
      const int previous = column - step;
      if (previous >= 0 && previous < p.query_width && p.searched((int64_t)row * p.query_width + previous)) {
        const int64_t from = field.at(row, previous);
        query.propagate(row, previous, field.position + from, field.born + from, since, iteration);
      }
      const int above = row - step;
      if (above >= 0 && above < p.query_height && p.searched((int64_t)above * p.query_width + column)) {
        const bool inside = above >= top && above <= bottom;
        const Field& source = inside ? field : edge;
        const int64_t from = inside ? field.at(above, column) : edge.at(band, column);
        query.propagate(above, column, source.position + from, source.born + from, inside || since == 0 ? since : since - 1, iteration);
      }
      if (buckets) buckets->offer(query, codes[(size_t)(row - top) * p.query_width + column], iteration);
      query.random_search(iteration);
      query.look_around(iteration);
    }
}

template <class T>
void scan(const Problem<T>& p, const Field& field, int iterations, int threads) {
  const int bands = (p.query_height + kBandRows - 1) / kBandRows;
  const size_t row_entries = (size_t)p.query_width * p.k;
  std::vector<uint32_t> edge_position(bands * row_entries);
  std::vector<uint16_t> edge_born(bands * row_entries);
  // A table costs a pass over the key, which a few queries in a large key would not earn back.
  const bool hashed = !p.dot && (int64_t)p.query_height * p.query_width * 4 >= (int64_t)p.key_height * p.key_width;
  const Field edge = {edge_position.data(), nullptr, edge_born.data(), p.query_width, p.k};
  for (int iteration = 1; iteration <= iterations; ++iteration) {
    for (int band = 0; band < bands; ++band) {
      const int row = iteration % 2 ? band * kBandRows - 1 : (band + 1) * kBandRows;
      if (row < 0 || row >= p.query_height) continue;
      memcpy(edge.position + edge.at(band, 0), field.position + field.at(row, 0), row_entries * sizeof(uint32_t));
      memcpy(edge.born + edge.at(band, 0), field.born + field.at(row, 0), row_entries * sizeof(uint16_t));
    }
    std::optional<Buckets<T>> buckets;
    if (hashed) buckets.emplace(p, iteration, threads);
    parallel_for(bands, 1, threads, [&](int64_t band) {
      scan_band(p, field, (int)band, edge, buckets ? &*buckets : nullptr, iteration);
    });
  }
}

// Reads one field and writes the other, so that no query sees a neighbour of the same iteration.
template <class T>
void jump_flood(const Problem<T>& p, const Field& field, int iterations, int threads) {
  const size_t entries = (size_t)p.query_height * p.query_width * p.k;
  std::vector<uint32_t> position(field.position, field.position + entries);
  std::vector<uint16_t> born(field.born, field.born + entries);
  for (int iteration = 1; iteration <= iterations; ++iteration) {
    each_query(p, threads, field, [&](Query<T, VectorLanes>& query) { query.jump_flood(position.data(), born.data(), iteration); });
    if (iteration == iterations) break;
    memcpy(position.data(), field.position, entries * sizeof(uint32_t));
    memcpy(born.data(), field.born, entries * sizeof(uint16_t));
  }
}

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
    each_query(p, a.place.threads, field, [&](Query<T, VectorLanes>& query) { query.initialise(a.has_init); });
    if (a.schedule == PSAL_SCAN) scan(p, field, a.iterations, a.place.threads);
    else jump_flood(p, field, a.iterations, a.place.threads);
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
