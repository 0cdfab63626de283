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
  parallel_for(height, 8, threads, [&](int64_t row) {
    for (int c = 0; c < channels; ++c)
      for (int column = 0; column < width; ++column)
        out[((size_t)row * channels + c) * width + column] = to_float(picture[((size_t)row * width + column) * channels + c]);
  });
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
  std::vector<float> value, worst;                 // [rows, W, kept], [rows, W] and a vector
  int stride;                                      // of the rows below: room to read a vector beyond the last column
  std::vector<float> history, newer, running;      // [patch_size + 1, stride], [stride] twice with a margin of a radius before it
  std::vector<uint16_t> born;                      // of no use here, but a list has it

  Band(const Problem<T>& problem, const float* q, const float* k, int band, int kept_)
      : p(problem), query(q), key(k), top(band * kSweepRows), rows(at_most(kSweepRows, p.query_height - top)), kept(kept_),
        position((size_t)rows * p.query_width * kept, kNoPosition), value(position.size(), kNoMatch),
        worst((size_t)rows * p.query_width + Vector::kWidth, kNoMatch), stride(p.query_width + 2 * p.radius + Vector::kWidth),
        history((size_t)(2 * p.radius + 2) * stride), newer(stride), running(stride), born(kept) {
    for (int y = 0; y < rows; ++y)
      for (int x = 0; x < p.query_width; ++x)
        if (!p.searched((int64_t)(top + y) * p.query_width + x)) worst[(size_t)y * p.query_width + x] = INFINITY;
  }

  // One displacement. `from` to `end` are the columns in which both pictures have a pixel, `low` to `high` those whose
  // key patch is whole; everything outside them stays zero, margins of a radius included.
  void sweep(int down, int right) {
    const int r = p.radius, size = 2 * r + 1;
    const int from = at_least(0, -right), end = at_most(p.query_width, p.key_width - right);
    const int low = at_least(0, r - right), high = at_most(p.query_width, p.key_width - r - right);
    const int first = at_least(top, r - down), last = at_most(top + rows, p.key_height - r - down);
    if (low >= high || first >= last) return;
    std::fill(history.begin(), history.end(), 0.f);
    std::fill(newer.begin(), newer.end(), 0.f);
    std::fill(running.begin(), running.end(), 0.f);
    for (int row = first - r, slot = 0; row < last + r; ++row, slot = (slot + 1) % size) {
      if (slot == 0 && row > first - r) start_block(size);
      const bool inside = row >= 0 && row < p.query_height && row + down >= 0 && row + down < p.key_height;
      float* entering = history.data() + (size_t)slot * stride;
      if (p.dot) advance<true>(inside ? row : -1, down, right, from, end, entering);
      else advance<false>(inside ? row : -1, down, right, from, end, entering);
      if (row >= first + r) keep_row(row - r, down, right, low, high);
    }
  }

  // The sums over patch_size rows are those of the rows of this block of patch_size so far, `newer`, and of the rest of the
  // block before, which `history` holds as sums up to its end (van Herk 1992). Nothing is ever subtracted, so one large or
  // infinite number spoils no sum that does not contain it.
  void start_block(int size) {
    for (int slot = size - 2; slot >= 0; --slot) {
      float* __restrict row = history.data() + (size_t)slot * stride;
      const float* __restrict next = row + stride;
      for (int x = 0; x < stride; ++x) row[x] += next[x];
    }
    std::fill(newer.begin(), newer.end(), 0.f);
  }

  // The pixel similarities of `row` (none when negative) take a place in the history and enter the sums.
  template <bool kDot>
  void advance(int row, int down, int right, int from, int end, float* entering) {
    float *sums = running.data() + p.radius, *block = newer.data() + p.radius;
    const float* older = entering + stride;  // beyond the last row of the history is a row of zeros
    constexpr int w = Vector::kWidth;
    const float* a = query + (size_t)at_least(row, 0) * p.channels * p.query_width;
    const float* b = key + (size_t)at_least(row < 0 ? 0 : row + down, 0) * p.channels * p.key_width + right;
    const int channels = row < 0 ? 0 : p.channels;
    const int64_t a_stride = p.query_width, b_stride = p.key_width;
    int x = from;
    for (; x + 4 * w <= end; x += 4 * w) {  // four registers of sums: the channels pass, the sums stay
      Vector added[4] = {Vector::zero(), Vector::zero(), Vector::zero(), Vector::zero()};
      for (int c = 0; c < channels; ++c)
        for (int i = 0; i < 4; ++i)
          add<kDot>(added[i], Vector::load(a + c * a_stride + x + i * w), Vector::load(b + c * b_stride + x + i * w));
      for (int i = 0; i < 4; ++i) {
        added[i].store(entering + x + i * w);
        added[i] = Vector::load(block + x + i * w) + added[i];
        added[i].store(block + x + i * w);
        (added[i] + Vector::load(older + x + i * w)).store(sums + x + i * w);
      }
    }
    for (; x < end; x += w) {  // beyond `end` the loads are zero, and so stay the sums
      const int n = at_most(w, end - x);
      Vector added = Vector::zero();
      for (int c = 0; c < channels; ++c)
        add<kDot>(added, Vector::load(a + c * a_stride + x, n), Vector::load(b + c * b_stride + x, n));
      added.store(entering + x);
      added = Vector::load(block + x) + added;
      added.store(block + x);
      (added + Vector::load(older + x)).store(sums + x);
    }
  }
  template <bool kDot>
  static void add(Vector& sum, Vector a, Vector b) {
    if (kDot) sum.add_product(a, b);
    else sum.add_square(a, b);
  }

  // Box sums along the row, compared with the worst kept: few candidates pass, so look at a vector before its pixels.
  void keep_row(int row, int down, int right, int low, int high) {
    constexpr int w = Vector::kWidth;
    const int r = p.radius;
    float* limit = worst.data() + (size_t)(row - top) * p.query_width;
    const float* sums = running.data() + r;
    const float* scale = p.key_scale ? p.key_scale + (size_t)(row + down) * p.key_width + right : nullptr;
    for (int x = low; x < high; x += w) {
      const int n = at_most(w, high - x);
      Vector box = Vector::load(sums + x - r);
      for (int shift = 1 - r; shift <= r; ++shift) box = box + Vector::load(sums + x + shift);
      float value[w];
      if (!p.dot) box = Vector::zero() - box;
      if (!scale && !Vector::any_above(box, Vector::load(limit + x))) continue;
      box.store(value);
      for (int i = 0; i < n; ++i) {
        if (scale) value[i] *= scale[x + i];
        if (value[i] > limit[x + i] && p.valid(row + down, x + i + right)) keep(row, x + i, pack(row + down, x + i + right), value[i]);
      }
    }
  }

  void keep(int row, int column, uint32_t candidate, float similarity) {
    const size_t query_at = (size_t)(row - top) * p.query_width + column;
    Neighbours list = {position.data() + query_at * kept, value.data() + query_at * kept, born.data(), kept};
    list.insert(candidate, similarity, 0, kept);
    worst[query_at] = list.worst();
  }

  // Features that are not finite have fewer than k similarities above -inf: any further keys will do.
  void complete(std::vector<std::pair<float, uint32_t>>& ranked) const {
    for (int row = 0; row < p.key_height; ++row)
      for (int column = 0; column < p.key_width; ++column) {
        const uint32_t candidate = pack(row, column);
        const auto is_it = [&](const std::pair<float, uint32_t>& one) { return one.second == candidate; };
        if (!p.valid(row, column) || std::any_of(ranked.begin(), ranked.end(), is_it)) continue;
        ranked.push_back({INFINITY, candidate});
        if ((int)ranked.size() == p.k) return;
      }
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
          if (candidate == kNoPosition) continue;
          const float value = one.similarity(unpack(candidate), kNoMatch);
          ranked.push_back({value == value ? -value : INFINITY, candidate});  // NaN has no place in an order
        }
        if ((int)ranked.size() < p.k) complete(ranked);
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
  parallel_for(bands, 1, threads, [&](int64_t index) {
    Band<T> band(p, query.data(), key.data(), (int)index, p.k + kSpare);
    for (int down = p.radius - (band.top + band.rows - 1); down < p.key_height - p.radius - band.top; ++down)
      for (int right = p.radius - (p.query_width - 1); right < p.key_width - p.radius; ++right) band.sweep(down, right);
    band.rank(field, similarity);
  });
}

template void exact(const Problem<float>&, uint32_t*, float*, int);
template void exact(const Problem<Half>&, uint32_t*, float*, int);
template void exact(const Problem<Brain>&, uint32_t*, float*, int);
template void exact(const Problem<double>&, uint32_t*, float*, int);

}  // namespace PSAL_ISA
}  // namespace psal
