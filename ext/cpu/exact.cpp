// The exact k nearest neighbours by a sweep over displacements. For one displacement the distances of all patches are
// the box sums of one picture of pixel distances, so the patch's size costs nothing: n^2 * C work, O(n) memory.
#include <algorithm>
#include <utility>
#include <vector>

#include "kernels.h"

namespace psal {
namespace PSAL_ISA {
namespace {

constexpr int kSweepRows = 32;
constexpr int kSpare = 4;  // running sums round: keep a few more than k, then rank by the direct sum

template <class T>
std::vector<float> planar(const T* picture, int height, int width, int channels, int threads) {  // -> [H, C, W]
  std::vector<float> out((size_t)height * channels * width);
#pragma omp parallel for num_threads(threads)
  for (int row = 0; row < height; ++row)
    for (int c = 0; c < channels; ++c)
      for (int column = 0; column < width; ++column)
        out[((size_t)row * channels + c) * width + column] = to_float(picture[((size_t)row * width + column) * channels + c]);
  return out;
}

// The sweep of one band of query rows.
template <class T>
struct Band {
  const Problem<T>& p;
  const float* query;  // [H, C, W]
  const float* key;    // [Hk, C, Wk]
  int top, rows, kept;
  std::vector<uint32_t> position;                  // [rows, W, kept]
  std::vector<float> value, worst;                 // [rows, W, kept], [rows, W]
  std::vector<float> history, running, total;      // [patch_size, W], [W], [W]
  std::vector<uint16_t> born;                      // of no use here, but a list has it

  Band(const Problem<T>& problem, const float* q, const float* k, int band, int kept_)
      : p(problem), query(q), key(k), top(band * kSweepRows), rows(at_most(kSweepRows, p.query_height - top)), kept(kept_),
        position((size_t)rows * p.query_width * kept, 0xffffffffu), value(position.size(), kNoMatch),
        worst((size_t)rows * p.query_width, kNoMatch), history((size_t)(2 * p.radius + 1) * p.query_width),
        running(p.query_width), total(p.query_width), born(kept) {
    for (int y = 0; y < rows; ++y)
      for (int x = 0; x < p.query_width; ++x)
        if (!p.searched((int64_t)(top + y) * p.query_width + x)) worst[(size_t)y * p.query_width + x] = INFINITY;
  }

  // Pixel similarities of one query row against the key row moved by the displacement; zero outside either picture.
  void compare_row(int row, int down, int right, float* out) const {
    const int width = p.query_width, key_row = row + down;
    std::fill(out, out + width, 0.f);
    if (row < 0 || row >= p.query_height || key_row < 0 || key_row >= p.key_height) return;
    const int low = at_least(0, -right), high = at_most(width, p.key_width - right);
    for (int c = 0; c < p.channels; ++c) {
      const float* a = query + ((size_t)row * p.channels + c) * width;
      const float* b = key + ((size_t)key_row * p.channels + c) * p.key_width + right;
      if (p.dot)
#pragma omp simd
        for (int x = low; x < high; ++x) out[x] += a[x] * b[x];
      else
#pragma omp simd
        for (int x = low; x < high; ++x) out[x] -= (a[x] - b[x]) * (a[x] - b[x]);
    }
  }

  void sweep(int down, int right) {
    const int width = p.query_width, r = p.radius, size = 2 * r + 1;
    const int low = at_least(0, r - right), high = at_most(width, p.key_width - r - right);  // centres with a whole key patch
    const int first = at_least(top, r - down), last = at_most(top + rows, p.key_height - r - down);
    if (low >= high || first >= last) return;
    std::fill(history.begin(), history.end(), 0.f);
    std::fill(running.begin(), running.end(), 0.f);
    for (int row = first - r; row < last + r; ++row) {
      float* entering = history.data() + (size_t)((row + size) % size) * width;  // and its old content leaves
#pragma omp simd
      for (int x = 0; x < width; ++x) running[x] -= entering[x];
      compare_row(row, down, right, entering);
#pragma omp simd
      for (int x = 0; x < width; ++x) running[x] += entering[x];
      if (row >= first + r) keep_row(row - r, down, right, low, high);
    }
  }

  void keep_row(int row, int down, int right, int low, int high) {
    const int width = p.query_width;
    const float* limit = worst.data() + (size_t)(row - top) * width;
    const int r = p.radius;
    std::copy(running.begin() + low, running.begin() + high, total.begin() + low);
    for (int shift = 1; shift <= r; ++shift) {
      const int left = at_least(low, shift), right_end = at_most(high, width - shift);
#pragma omp simd
      for (int x = left; x < high; ++x) total[x] += running[x - shift];
#pragma omp simd
      for (int x = low; x < right_end; ++x) total[x] += running[x + shift];
    }
    if (p.key_scale) {
      const float* scale = p.key_scale + (size_t)(row + down) * p.key_width + right;
      for (int x = low; x < high; ++x) total[x] *= scale[x];
    }
    constexpr int kBlock = 64;  // few candidates pass: look at a block before looking at its pixels
    for (int start = low; start < high; start += kBlock) {
      const int end = at_most(start + kBlock, high);
      int passing = 0;
#pragma omp simd reduction(+ : passing)
      for (int x = start; x < end; ++x) passing += total[x] > limit[x];
      if (!passing) continue;
      for (int x = start; x < end; ++x)
        if (total[x] > limit[x] && p.valid(row + down, x + right)) keep(row, x, pack(row + down, x + right), total[x]);
    }
  }

  void keep(int row, int column, uint32_t candidate, float similarity) {
    const size_t query_at = (size_t)(row - top) * p.query_width + column;
    Neighbours list = {position.data() + query_at * kept, value.data() + query_at * kept, born.data(), kept};
    list.insert(candidate, similarity, 0);
    worst[query_at] = list.worst();
  }

  // The direct sums decide; equal ones go to the first key in raster order.
  void rank(uint32_t* field, float* similarity) {
    std::vector<std::pair<float, uint32_t>> ranked;
    for (int y = 0; y < rows; ++y)
      for (int x = 0; x < p.query_width; ++x) {
        const size_t query_at = (size_t)(top + y) * p.query_width + x;
        if (!p.searched((int64_t)query_at)) continue;
        Query<T, VectorLanes> one(p, top + y, x, {});
        ranked.clear();
        for (int i = 0; i < kept; ++i) {
          const uint32_t candidate = position[((size_t)y * p.query_width + x) * kept + i];
          if (candidate != 0xffffffffu) ranked.push_back({-one.similarity(unpack(candidate), kNoMatch), candidate});
        }
        std::sort(ranked.begin(), ranked.end());
        for (int i = 0; i < p.k; ++i) {
          field[query_at * p.k + i] = ranked[i].second;
          similarity[query_at * p.k + i] = -ranked[i].first;
        }
      }
  }
};

}  // namespace

template <class T>
void exact(const Problem<T>& p, uint32_t* field, float* similarity, int threads) {
  const std::vector<float> query = planar(p.query, p.query_height, p.query_width, p.channels, threads);
  const std::vector<float> key = planar(p.key, p.key_height, p.key_width, p.channels, threads);
  const int bands = (p.query_height + kSweepRows - 1) / kSweepRows;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int index = 0; index < bands; ++index) {
    Band<T> band(p, query.data(), key.data(), index, p.k + kSpare);
    for (int down = p.radius - (band.top + band.rows - 1); down < p.key_height - p.radius - band.top; ++down)
      for (int right = p.radius - (p.query_width - 1); right < p.key_width - p.radius; ++right) band.sweep(down, right);
    band.rank(field, similarity);
  }
}

template void exact(const Problem<float>&, uint32_t*, float*, int);
template void exact(const Problem<Half>&, uint32_t*, float*, int);
template void exact(const Problem<Brain>&, uint32_t*, float*, int);
template void exact(const Problem<double>&, uint32_t*, float*, int);

}  // namespace PSAL_ISA
}  // namespace psal
