// Sketches of patches: 16 small integers each, whose distance tells of most keys that they are no match, for one cache line.
// Compiled once per instruction set.
//
// A sketch holds the projections of a patch on orthonormal directions: of all products of a principal direction of the channels
// with a polynomial in the row and one in the column those on which the keys differ most. No distance grows by a projection
// (as with partial distances and partition means), so that only rounding may reject a match, seldom and by a little: that is
// for a random search, not for an exact one. Integers add up alike in any order, and projections are chains of multiply_add:
// sketches are the same on all instruction sets that have it fused.
#pragma once
#include <math.h>

#include <algorithm>
#include <vector>

#include "../patchmatch.h"
#include "bytes.h"
#include "simd.h"
#include "threads.h"

namespace psal {
namespace PSAL_ISA {

constexpr int kSketch = 16;  // numbers of a sketch

struct Sketch {
  uint8_t number[kSketch];

  int distance(const Sketch& other) const { return squared_distance(number, other.number); }
};

// Patches by their centres: rows [top, bottom) and columns [left, right).
struct Part {
  int top, bottom, left, right;
};

// The directions, and the sketches of whole pictures along them.
template <class T>
class Sketcher {
 public:
  explicit Sketcher(const Problem<T>& problem)
      : channels(problem.channels), radius(problem.radius), size(2 * problem.radius + 1), mean(problem.channels),
        weight((size_t)problem.channels * kSketch), across((size_t)size * kSketch), down((size_t)size * kSketch) {
    const Samples samples(problem);
    choose(samples, principal(samples));
  }

  float step() const { return quantum; }  // of the numbers, in the unit of the projections; 0: sketches tell nothing

  // [height, width]: of the patches that lie whole inside the picture; the others are left as they are.
  void sketch(const T* picture, int height, int width, int threads, Sketch* out) const {
    constexpr int kRows = 32, kColumns = 128;
    const int rows = height - 2 * radius, columns = width - 2 * radius;
    if (rows <= 0 || columns <= 0) return;
    const int down_count = (rows + kRows - 1) / kRows, across_count = (columns + kColumns - 1) / kColumns;
    parallel_for((int64_t)down_count * across_count, 1, threads, [&](int64_t tile) {
      const int top = radius + (int)(tile / across_count) * kRows, left = radius + (int)(tile % across_count) * kColumns;
      const Part part = {top, at_most(top + kRows, height - radius), left, at_most(left + kColumns, width - radius)};
      sketch_part(picture, width, part, out + (int64_t)top * width + left, width);
    });
  }

  // Of patches that lie whole inside a picture; `out` is of the part's first patch, and `stride` leads to the next row.
  void sketch_part(const T* picture, int width, Part part, Sketch* out, int64_t stride) const {
    const int columns = part.right - part.left, padded = columns + 2 * radius;
    std::vector<float> line((size_t)padded * kSketch), ring((size_t)size * columns * kSketch);
    for (int y = part.top - radius; y < part.bottom + radius; ++y) {
      project(picture + ((int64_t)y * width + part.left - radius) * channels, padded, line.data());
      float* filtered = ring.data() + (size_t)(y % size) * columns * kSketch;
      for (int x = 0; x < columns; ++x) {
        float sums[kSketch] = {};
        for (int d = 0; d < size; ++d) accumulate(sums, across.data() + (size_t)d * kSketch, line.data() + (size_t)(x + d) * kSketch);
        memcpy(filtered + (size_t)x * kSketch, sums, sizeof sums);
      }
      const int row = y - radius;
      if (row < part.top) continue;
      for (int x = 0; x < columns; ++x) {
        float sums[kSketch] = {};
        for (int d = 0; d < size; ++d)
          accumulate(sums, down.data() + (size_t)d * kSketch,
                     ring.data() + ((size_t)((row - radius + d) % size) * columns + x) * kSketch);
        round(sums, out[(row - part.top) * stride + x]);
      }
    }
  }

 private:
  static constexpr int kSamples = 256, kDirections = 8, kDegrees = 4;
  static constexpr double kLeastShare = 0.3;  // of the energy of the patches: of noise, sketches hold too little to be of use
  static constexpr double kRange = 2.5;  // standard deviations of the widest projection that the numbers span

  int channels, radius, size;
  float quantum = 0;
  std::vector<float> mean;    // of each channel
  std::vector<float> weight;  // [channels, kSketch], divided by the step
  std::vector<float> across, down;  // [size, kSketch]: polynomials

  // Key patches at random, less the mean of each channel: [kSamples, size, size, channels].
  struct Samples {
    std::vector<double> mean;
    std::vector<float> patches;

    explicit Samples(const Problem<T>& p) : mean(p.channels) {
      const int r = p.radius, size = 2 * r + 1;
      const size_t run = (size_t)size * p.channels;
      patches.resize(kSamples * size * run);
      for (int i = 0; i < kSamples; ++i) {
        const uint64_t bits = mix(0x9e3779b97f4a7c15ull * (uint64_t)(i + 1));
        const int row = between((uint32_t)(bits >> 32), r, p.key_height - r), column = between((uint32_t)bits, r, p.key_width - r);
        for (int y = 0; y < size; ++y) {
          const T* from = p.key + ((int64_t)(row - r + y) * p.key_width + column - r) * p.channels;
          for (size_t j = 0; j < run; ++j) patches[(i * size + y) * run + j] = to_float(from[j]);
        }
      }
      for (size_t j = 0; j < patches.size(); ++j) mean[j % p.channels] += patches[j];
      for (double& m : mean) m /= (double)kSamples * size * size;
      for (size_t j = 0; j < patches.size(); ++j) patches[j] -= (float)mean[j % p.channels];
    }
    const float* pixel(int sample, int row, int column, int size, int channels) const {
      return patches.data() + (((size_t)sample * size + row) * size + column) * channels;
    }
  };

  // Orthonormal rows, by Gram and Schmidt; a row without a part of its own becomes zero.
  static void orthonormalise(std::vector<std::vector<double>>& rows) {
    for (size_t i = 0; i < rows.size(); ++i) {
      double before = 0, norm = 0;
      for (double v : rows[i]) before += v * v;
      for (int pass = 0; pass < 2; ++pass)
        for (size_t j = 0; j < i; ++j) {
          double product = 0;
          for (size_t c = 0; c < rows[i].size(); ++c) product += rows[i][c] * rows[j][c];
          for (size_t c = 0; c < rows[i].size(); ++c) rows[i][c] -= product * rows[j][c];
        }
      for (double v : rows[i]) norm += v * v;
      const double scale = norm > 1e-18 * before ? 1 / sqrt(norm) : 0;
      for (double& v : rows[i]) v *= scale;
    }
  }

  // The directions in which the pixels of the samples differ most, by a few steps of orthogonal iteration.
  std::vector<std::vector<double>> principal(const Samples& samples) const {
    std::vector<std::vector<double>> directions(at_most(kDirections, channels), std::vector<double>(channels));
    for (size_t i = 0; i < directions.size(); ++i)
      for (int c = 0; c < channels; ++c) directions[i][c] = (double)(mix(i * 65536 + c + 1) >> 40) * 0x1p-24 - 0.5;
    orthonormalise(directions);
    const int steps = channels <= (int)directions.size() ? 0 : 8;
    for (int step = 0; step < steps; ++step) {
      for (std::vector<double>& direction : directions) {
        std::vector<double> next(channels);
        for (int i = 0; i < 2 * kSamples; ++i) {
          const float* pixel = samples.pixel(i / 2, radius, i % 2 ? radius : 0, size, channels);
          double product = 0;
          for (int c = 0; c < channels; ++c) product += direction[c] * pixel[c];
          for (int c = 0; c < channels; ++c) next[c] += product * pixel[c];
        }
        direction = next;
      }
      orthonormalise(directions);
    }
    return directions;
  }

  // Takes the products of a direction and two polynomials that vary most over the samples.
  void choose(const Samples& samples, const std::vector<std::vector<double>>& directions) {
    std::vector<std::vector<double>> polynomials(at_most(kDegrees, size), std::vector<double>(size));
    for (size_t degree = 0; degree < polynomials.size(); ++degree)
      for (int x = 0; x < size; ++x) {
        polynomials[degree][x] = 1;
        for (size_t i = 0; i < degree; ++i) polynomials[degree][x] *= x - radius;
      }
    orthonormalise(polynomials);
    const int degrees = (int)polynomials.size(), count = (int)directions.size();
    std::vector<double> energy((size_t)count * degrees * degrees), line((size_t)size * degrees);
    for (int i = 0; i < kSamples; ++i)
      for (int d = 0; d < count; ++d) {
        std::fill(line.begin(), line.end(), 0.0);
        for (int y = 0; y < size; ++y)
          for (int x = 0; x < size; ++x) {
            const float* pixel = samples.pixel(i, y, x, size, channels);
            double value = 0;
            for (int c = 0; c < channels; ++c) value += directions[d][c] * pixel[c];
            for (int b = 0; b < degrees; ++b) line[y * degrees + b] += polynomials[b][x] * value;
          }
        for (int a = 0; a < degrees; ++a)
          for (int b = 0; b < degrees; ++b) {
            double value = 0;
            for (int y = 0; y < size; ++y) value += polynomials[a][y] * line[y * degrees + b];
            energy[(d * degrees + a) * degrees + b] += value * value;
          }
      }
    std::vector<int> order(energy.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = (int)i;
    std::stable_sort(order.begin(), order.end(), [&](int i, int j) { return energy[i] > energy[j]; });
    const double spread = sqrt(energy[order[0]] / kSamples);
    double chosen = 0, total = 0;
    for (int i = 0; i < at_most(kSketch, (int)order.size()); ++i) chosen += energy[order[i]];
    for (float v : samples.patches) total += (double)v * v;
    if (!(spread > 1e-30 && spread < 1e30 && chosen > kLeastShare * total)) return;
    quantum = (float)(spread * kRange / 127);
    for (int c = 0; c < channels; ++c) mean[c] = (float)samples.mean[c];
    for (int i = 0; i < at_most(kSketch, (int)order.size()); ++i) {
      const int d = order[i] / degrees / degrees, a = order[i] / degrees % degrees, b = order[i] % degrees;
      for (int c = 0; c < channels; ++c) weight[(size_t)c * kSketch + i] = (float)(directions[d][c] / quantum);
      for (int x = 0; x < size; ++x) {
        across[(size_t)x * kSketch + i] = (float)polynomials[b][x];
        down[(size_t)x * kSketch + i] = (float)polynomials[a][x];
      }
    }
  }

  static void accumulate(float* __restrict sums, const float* __restrict a, const float* __restrict b) {
    for (int i = 0; i < kSketch; ++i) sums[i] = multiply_add(a[i], b[i], sums[i]);
  }

  void project(const T* pixels, int count, float* out) const {
    for (int x = 0; x < count; ++x, pixels += channels) {
      float sums[kSketch] = {};
      for (int c = 0; c < channels; ++c) {
        const float value = to_float(pixels[c]) - mean[c];
        const float* __restrict weights = weight.data() + (size_t)c * kSketch;
        for (int i = 0; i < kSketch; ++i) sums[i] = multiply_add(value, weights[i], sums[i]);
      }
      memcpy(out + (size_t)x * kSketch, sums, sizeof sums);
    }
  }

  static void round(const float* sums, Sketch& out) {
    for (int i = 0; i < kSketch; ++i) {
      float v = sums[i];
      v = v > -127.f ? v : -127.f;  // NaN too
      v = v < 127.f ? v : 127.f;
      out.number[i] = (uint8_t)(int)(rintf(v) + 127);
    }
  }
};

}  // namespace PSAL_ISA
}  // namespace psal
