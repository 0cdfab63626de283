// The scan schedule: queries in scan order inside bands, which run in parallel. A query looks at what the previous column and
// the previous row found, at keys with a sketch like its own, and at random ones around its best match.
#pragma once
#include <string.h>

#include <optional>
#include <vector>

#include "field.h"
#include "hashing.h"
#include "kernels.h"

namespace psal {
namespace PSAL_ISA {

constexpr int kBandRows = 32;
constexpr int kAnyAge = 255;
constexpr int kTileColumns = 256;  // a band runs tile by tile: the features around a row of a tile stay in the cache

template <class T>
using FilteredQuery = Query<T, VectorLanes, Neighbours, SketchFilter>;

// The keys whose sketches are nearest to the query's and do not rule them out: few are worth the comparison of patches.
class Shortlist {
 public:
  void add(uint32_t position, int distance) {
    if (count == kMost && distance >= entries[kMost - 1].distance) return;
    int i = count < kMost ? count++ : kMost - 1;
    for (; i > 0 && entries[i - 1].distance > distance; --i) entries[i] = entries[i - 1];
    entries[i] = {position, distance};
  }
  template <class Query>
  void offer_to(Query& query, int iteration) const {
    for (int i = 0; i < count; ++i) prefetch(query.problem, unpack(entries[i].position));
    for (int i = 0; i < count && entries[i].distance <= query.filter.limit; ++i) {
      const Position key = unpack(entries[i].position);
      if (!query.list.contains(entries[i].position, query.list.k)) query.compare(key.row, key.column, iteration);
    }
  }

 private:
  static constexpr int kMost = 3;
  struct Entry {
    uint32_t position;
    int distance;
  } entries[kMost];
  int count = 0;

  // The first two rows of a patch: by then most comparisons have ended.
  template <class T>
  static void prefetch(const Problem<T>& p, Position key) {
    const int64_t stride = (int64_t)p.key_width * p.channels;
    const int bytes = (int)((2 * p.radius + 1) * p.channels * sizeof(T));
    const char* row = (const char*)(p.key + (key.row - p.radius) * stride + (int64_t)(key.column - p.radius) * p.channels);
    for (int y = 0; y < at_most(2, 2 * p.radius + 1); ++y, row += stride * sizeof(T))
      for (int at = 0; at < bytes; at += 64) __builtin_prefetch(row + at);
  }
};

template <class T>
class Scan {
 public:
  Scan(const Problem<T>& problem, const Field& f, int t) : p(problem), field(f), threads(t) {}

  void run(int iterations) {
    const int bands = (p.query_height + kBandRows - 1) / kBandRows;
    edge_position.resize((size_t)bands * p.query_width * p.k);
    edge_born.resize(edge_position.size());
    // Sketches cost a pass over the key, which a few queries in a large key would not earn back.
    const int64_t queries = (int64_t)p.query_height * p.query_width, keys = (int64_t)p.key_height * p.key_width;
    if (!p.dot && iterations > 0 && queries * 4 >= keys) sketches.emplace(p, threads);
    const bool hashed = sketches && sketches->tell();
    for (int iteration = 1; iteration <= iterations; ++iteration) {
      save_edges(bands, iteration);
      std::optional<Buckets<T>> buckets;
      if (hashed) buckets.emplace(p, *sketches, iteration, threads);
      parallel_for(bands, 1, threads, [&](int64_t band) { run_band((int)band, buckets ? &*buckets : nullptr, iteration); });
    }
  }

 private:
  const Problem<T>& p;
  const Field field;
  const int threads;
  std::optional<Sketches<T>> sketches;
  std::vector<uint32_t> edge_position;
  std::vector<Born> edge_born;

  Field edge() { return {edge_position.data(), nullptr, edge_born.data(), p.query_width, p.k}; }

  // The row before a band belongs to another thread, so it is read as it was when the iteration began.
  void save_edges(int bands, int iteration) {
    const size_t entries = (size_t)p.query_width * p.k;
    for (int band = 0; band < bands; ++band) {
      const int row = iteration % 2 ? band * kBandRows - 1 : (band + 1) * kBandRows;
      if (row < 0 || row >= p.query_height) continue;
      memcpy(edge().position + edge().at(band, 0), field.position + field.at(row, 0), entries * sizeof(uint32_t));
      memcpy(edge().born + edge().at(band, 0), field.born + field.at(row, 0), entries * sizeof(Born));
    }
  }

  void run_band(int band, const Buckets<T>* buckets, int iteration) {
    const bool forward = iteration % 2;
    const int top = band * kBandRows, bottom = at_most(top + kBandRows, p.query_height);
    const int tiles = (p.query_width + kTileColumns - 1) / kTileColumns;
    std::optional<QuerySketches<T>> own;
    if (buckets) own.emplace(*sketches);
    for (int i = 0; i < tiles; ++i) {
      const int left = (forward ? i : tiles - 1 - i) * kTileColumns, right = at_most(left + kTileColumns, p.query_width);
      if (own) own->make({top, bottom, left, right});
      for (int y = 0; y < bottom - top; ++y)
        run_row(band, forward ? top + y : bottom - 1 - y, left, right, buckets, own ? &*own : nullptr, iteration);
    }
  }

  // own: with buckets, sketches of the row's queries.
  void run_row(int band, int row, int left, int right, const Buckets<T>* buckets, const QuerySketches<T>* own, int iteration) {
    const int step = iteration % 2 ? 1 : -1, count = right - left;
    uint32_t codes[kTileColumns];
    if (buckets)
      for (int x = 0; x < count; ++x)
        if (own->has(row, left + x)) codes[x] = buckets->code(own->at(row, left + x));
    for (int i = 0; i < count; ++i) {
      const int x = step > 0 ? i : count - 1 - i, ahead = x + 2 * step;
      if (!p.searched((int64_t)row * p.query_width + left + x)) continue;
      if (buckets && ahead >= 0 && ahead < count && own->has(row, left + ahead)) buckets->prefetch(codes[ahead]);
      const Neighbours list = field.list(row, left + x);
      FilteredQuery<T> query(p, row, left + x, list,
                             own ? own->filter(row, left + x, list.worst()) : SketchFilter());
      propagate(query, band, step, iteration);
      // Where sketches find good keys every second query draws: the next iteration carries what it has found to its neighbours.
      if (!query.filter.keys) query.random_search(iteration);
      else if ((row + left + x + iteration) % 2) draw(query, *buckets, codes[x], iteration);
      query.look_around(iteration);
    }
  }

  void propagate(FilteredQuery<T>& query, int band, int step, int iteration) {
    const int row = query.row, column = query.column, previous = column - step, above = row - step;
    // A match is offered once per direction: what was there two iterations ago has been tried.
    const int oldest = iteration <= 2 ? kAnyAge : 1;
    if (previous >= 0 && previous < p.query_width && p.searched((int64_t)row * p.query_width + previous)) {
      const int64_t from = field.at(row, previous);
      query.propagate(row, previous, field.position + from, field.born + from, oldest, iteration);
    }
    if (above < 0 || above >= p.query_height || !p.searched((int64_t)above * p.query_width + column)) return;
    const bool inside = above / kBandRows == band;
    const Field source = inside ? field : edge();
    const int64_t from = inside ? field.at(above, column) : source.at(band, column);
    query.propagate(above, column, source.position + from, source.born + from, inside || iteration <= 2 ? oldest : oldest + 1, iteration);
  }

  // Keys of the query's cell, and one draw in each of some windows around the best match. The draws wait for memory while the
  // cell is looked through.
  void draw(FilteredQuery<T>& query, const Buckets<T>& buckets, uint32_t code, int iteration) {
    Position drawn[kMostWindows];
    int windows = 0;
    const Position best = unpack(query.list.at(0));
    for (int half = kWidestWindow; half >= 1; half /= 2, ++windows) {
      drawn[windows] = query.within(best, half, random_bits(p.seed, iteration, query.pixel(), windows));
      query.filter.prefetch(drawn[windows].row, drawn[windows].column);
    }
    Shortlist shortlist;
    const auto cell = buckets.cell(code);
    const uint64_t bits = random_bits(p.seed, iteration, query.pixel(), windows);
    const int first = cell.count > kMostOfACell ? between((uint32_t)bits, 0, cell.count - kMostOfACell) : 0;
    const int last = at_most(cell.count, first + kMostOfACell);
    for (int i = first; i < last; ++i) {
      const int distance = query.filter.own.distance(cell.sketch[i]);
      if (distance <= query.filter.limit) shortlist.add(cell.position[i], distance);
    }
    for (int i = 0; i < windows; ++i) {
      if (!p.valid(drawn[i].row, drawn[i].column)) continue;
      const int distance = query.filter.own.distance(query.filter.keys[(int64_t)drawn[i].row * p.key_width + drawn[i].column]);
      if (distance <= query.filter.limit) shortlist.add(pack(drawn[i].row, drawn[i].column), distance);
    }
    shortlist.offer_to(query, iteration);
  }

  static constexpr int kMostWindows = 3, kWidestWindow = 4, kMostOfACell = 48;  // what is far is found by cells
};

}  // namespace PSAL_ISA
}  // namespace psal
