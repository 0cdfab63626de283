// Likely keys for the scan schedule: those whose sketches fall into the same cell as the query's.
//
// Uniform draws find a small region of the key with a chance of its share of the area. Looking at the patches that are alike
// raises that chance by orders of magnitude, and propagation does the rest: coherency-sensitive hashing (Korman and Avidan 2011),
// with random projections of sketches in place of Walsh-Hadamard kernels. A new table is drawn in each iteration, and takes in
// every fourth key in turn: a neighbour of the right key is found by looking around, and the table costs 5 bytes a key.
#pragma once
#include <algorithm>
#include <vector>

#include "sketch.h"

namespace psal {
namespace PSAL_ISA {

constexpr int kProjections = 4;
constexpr int kMostLevels = 16;  // of the last three projections; the first has twice as many: codes fit 17 bits

template <class T>
class Buckets {
 public:
  // What one cell holds: sketches side by side, so that looking at all of them takes few cache lines.
  struct Cell {
    const Sketch* sketch;
    const uint32_t* position;
    int count;
  };

  Buckets(const Problem<T>& problem, const Sketches<T>& s, int iteration, int threads)
      : p(problem), keys(s.key.data()), phase(iteration * 3 % 4) {
    // No pow(): its last bit, and with it the field, may differ from one C library to another.
    const double cells = (double)(p.key_height - 2 * p.radius) * (p.key_width - 2 * p.radius) / (4 * kKeysOfACell);
    const auto enough = [&](double side) { return 2 * side * side * side * side >= cells; };
    for (levels = 1; levels < kMostLevels && !enough(levels + 0.5);) ++levels;
    for (int m = 0; m < kProjections; ++m)
      for (int i = 0; i < kSketch; ++i) {
        const uint32_t bits = (uint32_t)(random_bits(p.seed, kHashStream + iteration, i, m) >> 32);
        weight[m][i] = (int16_t)(i > 0 ? between(bits, -64, 65) : m == 0 ? 64 : 0);
      }
    choose_thresholds();
    fill(threads);
  }

  uint32_t code(const Sketch& sketch) const {
    uint32_t out = 0;
    for (int m = 0; m < kProjections; ++m) {
      const int value = weighted_sum(sketch.number, weight[m]);
      int level = 0;
      for (int threshold : thresholds[m]) level += value >= threshold;
      out = out * (m == 0 ? 2 * levels : levels) + level;
    }
    return out;
  }

  Cell cell(uint32_t code) const {
    const uint32_t first = start[code];
    return {sketches.data() + first, positions.data() + first, (int)(start[code + 1] - first)};
  }
  void prefetch(uint32_t code) const {
    const char* first = (const char*)(sketches.data() + start[code]);
    for (int line = 0; line < 4; ++line) __builtin_prefetch(first + 64 * line);
    __builtin_prefetch(positions.data() + start[code]);
  }

 private:
  static constexpr int kHashStream = 1 << 15;  // iterations of the search end far below
  static constexpr int kKeysOfACell = 32;

  const Problem<T>& p;
  const Sketch* keys;
  int phase, levels;
  int16_t weight[kProjections][kSketch];
  std::vector<int> thresholds[kProjections];
  std::vector<uint32_t> start, positions;
  std::vector<Sketch> sketches;

  const Sketch& key(int row, int column) const { return keys[(int64_t)row * p.key_width + column]; }

  // Quantiles of the projections of some keys, so that the levels hold alike.
  void choose_thresholds() {
    constexpr int kSamples = 4096;
    const int rows = p.key_height - 2 * p.radius, columns = p.key_width - 2 * p.radius;
    std::vector<int> sample(kSamples);
    for (int m = 0; m < kProjections; ++m) {
      for (int i = 0; i < kSamples; ++i) {
        const uint64_t bits = random_bits(p.seed, kHashStream, i, 0);
        const int row = p.radius + between((uint32_t)(bits >> 32), 0, rows), column = p.radius + between((uint32_t)bits, 0, columns);
        sample[i] = weighted_sum(key(row, column).number, weight[m]);
      }
      std::sort(sample.begin(), sample.end());
      const int count = m == 0 ? 2 * levels : levels;
      for (int level = 1; level < count; ++level) thresholds[m].push_back(sample[(size_t)kSamples * level / count]);
    }
  }

  // Counting sort of every fourth key by its code, in raster order within a code.
  void fill(int threads) {
    const int first_row = p.radius + phase / 2, first_column = p.radius + phase % 2;
    const int rows = (p.key_height - p.radius - first_row + 1) / 2, columns = (p.key_width - p.radius - first_column + 1) / 2;
    start.assign((size_t)2 * levels * levels * levels * levels + 2, 0);
    if (rows <= 0 || columns <= 0) return;
    std::vector<uint32_t> codes((size_t)rows * columns);
    parallel_for(rows, 16, threads, [&](int64_t y) {
      for (int x = 0; x < columns; ++x) codes[y * columns + x] = code(key(first_row + 2 * (int)y, first_column + 2 * x));
    });
    for (int pass = 0; pass < 2; ++pass) {
      for (int y = 0; y < rows; ++y)
        for (int x = 0; x < columns; ++x) {
          const int row = first_row + 2 * y, column = first_column + 2 * x;
          if (!p.valid(row, column)) continue;
          uint32_t& next = start[codes[(size_t)y * columns + x] + (pass == 0 ? 1 : 0)];
          if (pass == 1) {
            positions[next] = pack(row, column);
            sketches[next] = key(row, column);
          }
          ++next;
        }
      if (pass == 0) {
        for (size_t i = 1; i < start.size(); ++i) start[i] += start[i - 1];
        positions.resize(start.back());
        sketches.resize(start.back());
      } else {  // each start has moved to the next one's place
        std::copy_backward(start.begin(), start.end() - 1, start.end());
        start[0] = 0;
      }
    }
  }
};

}  // namespace PSAL_ISA
}  // namespace psal
