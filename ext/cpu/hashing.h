// Likely keys for the random search of the scan schedule, with l2: keys whose patches share a coarse code with the query's.
//
// Uniform draws find a small region of the key with a chance of its share of the area. Drawing among the patches of similar
// sums and slopes instead raises that chance by orders of magnitude, and propagation does the rest: coherency-sensitive
// hashing (Korman and Avidan 2011), with random projections of the channels in place of Walsh-Hadamard kernels, so that it
// serves feature maps of any depth. A new table is drawn in each iteration, and takes in every fourth key in turn: a neighbour
// of the right key is found by looking around, and the table costs 1.5 bytes a key.
#pragma once
#include <algorithm>
#include <vector>

#include "../patchmatch.h"
#include "simd.h"
#include "threads.h"

namespace psal {
namespace PSAL_ISA {

constexpr int kProjections = 4;  // fixed: a box sum, a horizontal slope, a vertical slope, another box sum
constexpr int kMostLevels = 16;  // per projection: the code fits 16 bits
constexpr int kHashDraws = 6;

template <class T>
class Buckets {
 public:
  Buckets(const Problem<T>& problem, int iteration, int threads) : p(problem), phase(iteration * 3 % 4) {
    // About four keys a code. No pow(): its last bit, and with it the field, may differ from one C library to another.
    const double codes = (double)(p.key_height - 2 * p.radius) * (p.key_width - 2 * p.radius) / 16;
    const auto enough = [&](double side) { return side * side * side * side >= codes; };
    for (levels = 2; levels < kMostLevels && !enough(levels + 0.5);) ++levels;
    for (int m = 0; m < kProjections; ++m) {
      direction[m].resize(p.channels);
      for (int c = 0; c < p.channels; ++c)  // a sum of four uniforms: close enough to normal
        for (int u = 0; u < 4; ++u)
          direction[m][c] += (float)(random_bits(p.seed, kHashStream + iteration, c, 4 * m + u) >> 40) * 0x1p-24f - 0.5f;
    }
    choose_thresholds();
    fill(threads);
  }

  // Codes of the query patches of rows [first, last): [last - first, W].
  void query_codes(int first, int last, std::vector<uint16_t>& codes) const {
    codes.resize((size_t)(last - first) * p.query_width);
    project(p.query, p.query_height, p.query_width, first, last, 1, [&](int row, const float* const* values) {
      encode(values, p.query_width, codes.data() + (size_t)(row - first) * p.query_width);
    });
  }

  // Offers keys of one code to a query.
  template <class Query>
  void offer(Query& query, int code, int iteration) const {
    const uint32_t* keys = list.data() + start[code];
    const int count = (int)(start[code + 1] - start[code]);
    for (int i = 0; i < at_most(count, kHashDraws); ++i) {
      const int pick = count <= kHashDraws
                           ? i : between((uint32_t)random_bits(p.seed, iteration, query.pixel(), kFirstHashDraw + i), 0, count);
      const Position key = unpack(keys[pick]);
      query.consider(key.row, key.column, iteration);
    }
  }

 private:
  static constexpr int kHashStream = 1 << 15;    // iterations of the search end far below
  static constexpr int kFirstHashDraw = 64;      // the draws of the random search are fewer

  const Problem<T>& p;
  int phase, levels;
  std::vector<float> direction[kProjections], threshold[kProjections];
  std::vector<uint32_t> start, list;

  // Calls visit(row, values) for every `step`-th row of [first, last), values[m][column] being the projections of the patches.
  template <class Visit>
  void project(const T* picture, int height, int width, int first, int last, int step, Visit visit) const {
    const int r = p.radius, size = 2 * r + 1, stride = width + 2 * r;
    std::vector<float> line(stride), rows((size_t)kProjections * size * width), sums((size_t)kProjections * width);
    const float* values[kProjections];
    for (int m = 0; m < kProjections; ++m) values[m] = sums.data() + (size_t)m * width;
    int ready = first - r - 1;  // the last row that has been filtered along its columns
    for (int row = first; row < last; row += step) {
      for (int y = at_least(ready + 1, row - r); y <= row + r; ++y)
        for (int m = 0; m < kProjections; ++m)
          filter_row(picture + (int64_t)at_most(at_least(y, 0), height - 1) * width * p.channels, width, m, line.data(),
                     rows.data() + ((size_t)m * size + (y + size) % size) * width);
      ready = row + r;
      for (int m = 0; m < kProjections; ++m) {
        float* __restrict out = sums.data() + (size_t)m * width;
        std::fill(out, out + width, 0.f);
        for (int d = -r; d <= r; ++d) {
          const float sign = m == 2 ? (float)((d > 0) - (d < 0)) : 1.f;
          const float* __restrict from = rows.data() + ((size_t)m * size + (row + d + size) % size) * width;
          for (int x = 0; x < width; ++x) out[x] += sign * from[x];
        }
      }
      visit(row, values);
    }
  }

  // One row: channels projected to a number a pixel, then summed (or differenced) along the columns; edges repeated.
  void filter_row(const T* pixels, int width, int m, float* __restrict line, float* __restrict out) const {
    const int r = p.radius;
    for (int x = 0; x < width; ++x) line[r + x] = project_pixel(pixels + (int64_t)x * p.channels, direction[m].data());
    std::fill(line, line + r, line[r]);
    std::fill(line + r + width, line + width + 2 * r, line[r + width - 1]);
    std::fill(out, out + width, 0.f);
    for (int d = -r; d <= r; ++d) {
      const float sign = m == 1 ? (float)((d > 0) - (d < 0)) : 1.f;
      for (int x = 0; x < width; ++x) out[x] += sign * line[r + x + d];
    }
  }
  template <class U>
  float project_pixel(const U* pixel, const float* weights) const {
    Lanes sum = Lanes::zero();
    int c = 0;
    for (; c + Lanes::kWidth <= p.channels; c += Lanes::kWidth) sum.add<false>(pixel + c, weights + c);
    if (c < p.channels) sum.add<false>(pixel + c, weights + c, p.channels - c);
    return sum.sum();
  }
  float project_pixel(const double* pixel, const float* weights) const {
    double sum = 0;
    for (int c = 0; c < p.channels; ++c) sum += pixel[c] * weights[c];
    return (float)sum;
  }

  // Quantiles of the keys' projections on a few rows, so that the levels hold alike.
  void choose_thresholds() {
    const int first = p.radius, last = p.key_height - p.radius, step = at_least(1, (last - first) / 16);
    std::vector<float> sample[kProjections];
    project(p.key, p.key_height, p.key_width, first, last, step, [&](int, const float* const* values) {
      for (int m = 0; m < kProjections; ++m) sample[m].insert(sample[m].end(), values[m], values[m] + p.key_width);
    });
    for (int m = 0; m < kProjections; ++m) {
      std::replace_if(sample[m].begin(), sample[m].end(), [](float v) { return v != v; }, 0.f);  // NaN has no place in an order
      std::sort(sample[m].begin(), sample[m].end());
      for (int level = 1; level < levels; ++level) threshold[m].push_back(sample[m][sample[m].size() * level / levels]);
    }
  }

  void encode(const float* const* values, int width, uint16_t* __restrict codes) const {
    std::fill(codes, codes + width, (uint16_t)0);
    for (int m = 0; m < kProjections; ++m) {
      const float *__restrict v = values[m], *__restrict limits = threshold[m].data();
      const int count = levels - 1, base = levels;
      for (int x = 0; x < width; ++x) {
        int level = 0;
        for (int i = 0; i < count; ++i) level += v[x] >= limits[i];
        codes[x] = (uint16_t)(codes[x] * base + level);
      }
    }
  }

  // Counting sort of every fourth key by its code, in raster order within a code.
  void fill(int threads) {
    const int first_row = p.radius + phase / 2, first_column = p.radius + phase % 2;
    const int rows = (p.key_height - p.radius - first_row + 1) / 2, columns = (p.key_width - p.radius - first_column + 1) / 2;
    start.assign((size_t)levels * levels * levels * levels + 1, 0);
    if (rows <= 0 || columns <= 0) return;
    std::vector<uint16_t> codes((size_t)rows * columns);
    constexpr int kChunk = 32;
    parallel_for((rows + kChunk - 1) / kChunk, 1, threads, [&](int64_t chunk) {
      std::vector<uint16_t> line(p.key_width);
      const int first = first_row + 2 * kChunk * (int)chunk, last = at_most(first + 2 * kChunk, first_row + 2 * rows - 1);
      project(p.key, p.key_height, p.key_width, first, last, 2, [&](int row, const float* const* values) {
        encode(values, p.key_width, line.data());
        for (int x = 0; x < columns; ++x) codes[(size_t)(row - first_row) / 2 * columns + x] = line[first_column + 2 * x];
      });
    });
    for (int pass = 0; pass < 2; ++pass) {
      for (int y = 0; y < rows; ++y)
        for (int x = 0; x < columns; ++x) {
          const int row = first_row + 2 * y, column = first_column + 2 * x;
          if (!p.valid(row, column)) continue;
          const uint16_t code = codes[(size_t)y * columns + x];
          if (pass == 0) ++start[code + 1];
          else list[start[code]++] = pack(row, column);
        }
      if (pass == 0) {
        for (size_t i = 1; i < start.size(); ++i) start[i] += start[i - 1];
        list.resize(start.back());
      } else {  // each start has moved to the next one's place
        std::copy_backward(start.begin(), start.end() - 1, start.end());
        start[0] = 0;
      }
    }
  }
};

}  // namespace PSAL_ISA
}  // namespace psal
