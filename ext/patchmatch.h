// PatchMatch on feature maps, written once for the CPU and for CUDA: what one query does.
// cpu/ and cuda/ decide who walks the queries and how a group of lanes sums one patch.
//
// Barnes et al. 2009 and 2010 (k neighbours); jump flooding as Algorithm 1 of Cherel et al. 2022.
#pragma once
#include <math.h>
#include <stdint.h>

#include "psal.h"

#if defined(__CUDACC__)  // the host's part of a .cu file only launches: all of this runs on the device there
#define HOST_DEVICE __device__ __forceinline__
#else
#define HOST_DEVICE inline __attribute__((always_inline))
#endif

namespace psal {

constexpr float kNoMatch = -INFINITY;
constexpr uint32_t kNoPosition = 0xffffffffu;  // of no key: sides end at kMaxSide
constexpr int kMaxSide = 65535;  // a position packs row and column into 16 bits each
constexpr int kMaxK = 64;

struct Position {
  int row, column;
};

HOST_DEVICE uint32_t pack(int row, int column) { return (uint32_t)row << 16 | (uint32_t)column; }
HOST_DEVICE Position unpack(uint32_t packed) { return {(int)(packed >> 16), (int)(packed & 0xffff)}; }

// One image pair of a search. Pictures are [height, width, channels].
template <class T>
struct Problem {
  const T* query;
  const T* key;
  const float* key_scale;
  const uint8_t* query_mask;
  const uint8_t* key_valid;
  const int32_t* key_rows;  // valid keys of each row and all earlier ones; with key_valid
  int query_height, query_width, key_height, key_width, channels, radius, k;
  bool dot;
  uint64_t seed;  // already mixed with the image's index

  HOST_DEVICE bool searched(int64_t pixel) const { return !query_mask || query_mask[pixel]; }
  HOST_DEVICE bool valid(int row, int column) const {
    if (row < radius || row >= key_height - radius || column < radius || column >= key_width - radius) return false;
    return !key_valid || key_valid[(int64_t)row * key_width + column];
  }
};

// Counter-based random numbers: a pure function of (seed, image, iteration, pixel, draw), so that a field
// does not depend on who computes which pixel when. Finaliser of splitmix64 (Steele et al. 2014).
HOST_DEVICE uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}
HOST_DEVICE uint64_t random_bits(uint64_t seed, int iteration, int64_t pixel, int draw) {
  const uint64_t counter = ((uint64_t)iteration << 48) ^ ((uint64_t)pixel << 9) ^ (uint64_t)draw;
  return mix(seed + 0x9e3779b97f4a7c15ull * (counter + 1));
}
HOST_DEVICE int between(uint32_t bits, int low, int high) {  // uniform in [low, high)
  return low + (int)(((uint64_t)bits * (uint64_t)(high - low)) >> 32);
}

// One image of a tensor that has `size` numbers an image; a tensor that was left out stays NULL.
template <class T>
HOST_DEVICE const T* image_of(const void* tensor, int64_t image, int64_t size) {
  return tensor ? (const T*)tensor + image * size : nullptr;
}

template <class T>
HOST_DEVICE Problem<T> problem_of(const psal_search_args& a, int64_t image) {
  const int64_t queries = (int64_t)a.query_height * a.query_width, keys = (int64_t)a.key_height * a.key_width;
  return {image_of<T>(a.query, image, queries * a.channels),
          image_of<T>(a.key, image, keys * a.channels),
          image_of<float>(a.key_scale, image, keys),
          image_of<uint8_t>(a.query_mask, image, queries),
          image_of<uint8_t>(a.key_valid, image, keys),
          image_of<int32_t>(a.key_rows, image, a.key_height),
          a.query_height, a.query_width, a.key_height, a.key_width, a.channels, a.patch_size / 2, a.k,
          a.similarity == PSAL_DOT,
          mix(a.seed + 0x632be59bd9b4e019ull * (uint64_t)(image + 1))};
}

// The iteration in which a match entered its list, modulo 256. A match that is taken for younger than it is, 256 iterations
// later, is only offered, or looked around, once more where that was of no use before.
using Born = uint8_t;
HOST_DEVICE int age(Born born, int iteration) { return (Born)(iteration - born); }

// The matches of one query, best first, in the caller's memory: the field itself. cuda/search.cu has another list of the
// same interface, which lives in the registers of a group of lanes.
struct Neighbours {
  uint32_t* position;
  float* similarity;
  Born* born;  // when each match entered the list
  int k;

  HOST_DEVICE float worst() const { return similarity[k - 1]; }
  HOST_DEVICE uint32_t at(int i) const { return position[i]; }
  HOST_DEVICE void put(int i, uint32_t candidate) { position[i] = candidate; }
  // Whether the candidate is one of the first `count` entries.
  HOST_DEVICE bool contains(uint32_t candidate, int count) const {
    bool found = false;
    for (int i = 0; i < count; ++i) found |= position[i] == candidate;
    return found;
  }
  // Into the first `count` entries, which stay sorted; the last of them drops out.
  HOST_DEVICE void insert(uint32_t candidate, float value, int iteration, int count) {
    int i = count - 1;
    for (; i > 0 && similarity[i - 1] < value; --i) {
      similarity[i] = similarity[i - 1];
      position[i] = position[i - 1];
      born[i] = born[i - 1];
    }
    similarity[i] = value;
    position[i] = candidate;
    born[i] = (Born)iteration;
  }
};

// The part of a patch around (row, column) that lies inside the query picture, as offsets [low, high).
struct Window {
  int row_low, row_high, column_low, column_high;
};
HOST_DEVICE int at_least(int a, int b) { return a > b ? a : b; }
HOST_DEVICE int at_most(int a, int b) { return a < b ? a : b; }
HOST_DEVICE Window clip(int row, int column, int height, int width, int radius) {
  return {at_least(-radius, -row), at_most(radius + 1, height - row), at_least(-radius, -column),
          at_most(radius + 1, width - column)};
}

// What may tell without a look at the patches that a candidate is no better than the worst match. This one never does.
struct Unfiltered {
  HOST_DEVICE void update(float) {}
  HOST_DEVICE bool rejects(int, int) const { return false; }
};

// One query: where it is, its clipped patch, its list, and the lanes that sum for it.
template <class T, class Lanes, class List = Neighbours, class Filter = Unfiltered>
struct Query {
  const Problem<T>& problem;
  int row, column;
  Window window;
  List list;
  Filter filter;

  HOST_DEVICE Query(const Problem<T>& p, int row_, int column_, List l, Filter f = {})
      : problem(p), row(row_), column(column_),
        window(clip(row_, column_, p.query_height, p.query_width, p.radius)), list(l), filter(f) {}

  HOST_DEVICE int64_t pixel() const { return (int64_t)row * problem.query_width + column; }

  // Similarity to the patch around `match`; may stop early, at any value <= bound, once it cannot pass the bound.
  HOST_DEVICE float similarity(Position match, float bound) const {
    const int channels = problem.channels;
    const int run = (window.column_high - window.column_low) * channels;
    const int64_t query_stride = (int64_t)problem.query_width * channels;
    const int64_t key_stride = (int64_t)problem.key_width * channels;
    const T* query = problem.query + (row + window.row_low) * query_stride + (int64_t)(column + window.column_low) * channels;
    const T* key = problem.key + (match.row + window.row_low) * key_stride +
                   (int64_t)(match.column + window.column_low) * channels;
    const int rows = window.row_high - window.row_low;
    if (problem.dot) {
      const float product = Lanes::dot(query, query_stride, key, key_stride, rows, run);
      return problem.key_scale ? product * problem.key_scale[(int64_t)match.row * problem.key_width + match.column] : product;
    }
    return -Lanes::squares(query, query_stride, key, key_stride, rows, run, -bound);
  }

  HOST_DEVICE void consider(int match_row, int match_column, int iteration) {
    if (!problem.valid(match_row, match_column) || list.contains(pack(match_row, match_column), list.k)) return;
    if (!filter.rejects(match_row, match_column)) compare(match_row, match_column, iteration);
  }
  // A valid key that is not in the list.
  HOST_DEVICE void compare(int match_row, int match_column, int iteration) {
    const float value = similarity({match_row, match_column}, list.worst());
    if (!(value > list.worst())) return;
    list.insert(pack(match_row, match_column), value, iteration, list.k);
    filter.update(list.worst());
  }

  // Fills the list: the initial field where it is usable, else random keys, all distinct.
  HOST_DEVICE void initialise(bool has_init) {
    int draw = 0;
    for (int i = 0; i < list.k; ++i) {
      const uint32_t given = list.at(i);
      const bool usable = has_init && problem.valid(unpack(given).row, unpack(given).column) && !list.contains(given, i);
      if (!usable) list.put(i, random_key(i, draw));
    }
    for (int i = 0; i < list.k; ++i) {  // insertion sort, in place: the first i entries are sorted
      const uint32_t candidate = list.at(i);
      list.insert(candidate, similarity(unpack(candidate), kNoMatch), 0, i + 1);
    }
  }
  // A uniform valid key that is not among the first i entries: 64 draws, then the next one in raster order.
  HOST_DEVICE uint32_t random_key(int i, int& draw) const {
    Position at = {0, 0};
    for (int attempt = 0; attempt < 64; ++attempt) {
      at = any_key(random_bits(problem.seed, 0, pixel(), draw++ & 511));
      if (!list.contains(pack(at.row, at.column), i)) return pack(at.row, at.column);
    }
    for (;;) {  // ends: the caller has checked that at least k keys are valid
      if (++at.column >= problem.key_width) {
        at.column = 0;
        if (++at.row >= problem.key_height) at.row = 0;
      }
      if (problem.valid(at.row, at.column) && !list.contains(pack(at.row, at.column), i)) return pack(at.row, at.column);
    }
  }
  HOST_DEVICE Position any_key(uint64_t bits) const {
    const int r = problem.radius;
    if (!problem.key_valid)
      return {between((uint32_t)(bits >> 32), r, problem.key_height - r), between((uint32_t)bits, r, problem.key_width - r)};
    // The n-th valid key: its row by bisection of the running counts, its column by counting.
    int rank = between((uint32_t)(bits >> 32), 0, problem.key_rows[problem.key_height - 1]), row = 0;
    for (int high = problem.key_height - 1; row < high;) {
      const int middle = (row + high) / 2;
      if (problem.key_rows[middle] > rank) high = middle;
      else row = middle + 1;
    }
    if (row > 0) rank -= problem.key_rows[row - 1];
    const uint8_t* line = problem.key_valid + (int64_t)row * problem.key_width;
    int column = 0;
    for (; !line[column] || rank > 0; ++column) rank -= line[column];
    return {row, column};
  }

  // All k matches of another query that are not older than `oldest` iterations, moved by the displacement between the two.
  HOST_DEVICE void propagate(int from_row, int from_column, const uint32_t* field, const Born* born, int oldest, int iteration) {
    for (int i = 0; i < list.k; ++i) {
      if (age(born[i], iteration) > oldest) continue;  // offered before, and the worst match has only improved since
      const Position match = unpack(field[i]);
      consider(match.row + row - from_row, match.column + column - from_column, iteration);
    }
  }

  // A key in a window around another one, clipped to the key picture.
  HOST_DEVICE Position within(Position centre, int half, uint64_t bits) const {
    const int r = problem.radius;
    return {between((uint32_t)(bits >> 32), at_least(r, centre.row - half), at_most(problem.key_height - r, centre.row + half + 1)),
            between((uint32_t)bits, at_least(r, centre.column - half), at_most(problem.key_width - r, centre.column + half + 1))};
  }

  // One draw in each of log2(max side) windows around the best match, halving from the whole key to 1 pixel.
  HOST_DEVICE void random_search(int iteration) {
    int draw = 0;
    for (int half = at_least(problem.key_height, problem.key_width); half >= 1; half /= 2, ++draw) {
      const Position at = within(unpack(list.at(0)), half, random_bits(problem.seed, iteration, pixel(), draw));
      consider(at.row, at.column, iteration);
    }
  }

  // The four keys beside each match that has just been found: what is next to a good key is often good.
  HOST_DEVICE void look_around(int iteration) {
    for (int i = 0; i < list.k; ++i) {
      if (age(list.born[i], iteration) != 0) continue;
      const Position match = unpack(list.at(i));
      consider(match.row - 1, match.column, iteration);
      consider(match.row + 1, match.column, iteration);
      consider(match.row, match.column - 1, iteration);
      consider(match.row, match.column + 1, iteration);
    }
  }

  // One iteration of Algorithm 1, with all k neighbours propagated: fills the list from the previous field, of which
  // position_of(row) and born_of(row) point to the first entry of a row.
  template <class PositionOf, class BornOf>
  HOST_DEVICE void jump_flood(PositionOf position_of, BornOf born_of, int iteration) {
    for (int jump = 1; jump <= 8; jump *= 2) {
      for (int side = 0; side < 4; ++side) {
        const int from_row = row + (side == 0 ? -jump : side == 1 ? jump : 0);
        const int from_column = column + (side == 2 ? -jump : side == 3 ? jump : 0);
        if (from_row < 0 || from_row >= problem.query_height || from_column < 0 || from_column >= problem.query_width) continue;
        if (!problem.searched((int64_t)from_row * problem.query_width + from_column)) continue;
        const int64_t entry = (int64_t)from_column * list.k;
        propagate(from_row, from_column, position_of(from_row) + entry, born_of(from_row) + entry, 1, iteration);
      }
    }
    random_search(iteration);
  }

  // The keys of rows [first, last), in raster order: after all rows, the exact k best.
  HOST_DEVICE void exhaustive(int first, int last) {
    for (int r = first; r < last; ++r)
      for (int c = problem.radius; c < problem.key_width - problem.radius; ++c) consider(r, c, 0);
    if (last == problem.key_height - problem.radius && list.at(list.k - 1) == kNoPosition) complete();
  }
  // Features that are not finite have fewer than k similarities above -inf: the first further keys in raster order will do.
  HOST_DEVICE void complete() {
    int count = 0;
    while (list.at(count) != kNoPosition) ++count;
    for (int r = problem.radius; r < problem.key_height - problem.radius; ++r)
      for (int c = problem.radius; c < problem.key_width - problem.radius && count < list.k; ++c)
        if (problem.valid(r, c) && !list.contains(pack(r, c), count)) list.put(count++, pack(r, c));
  }
};

}  // namespace psal
