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
constexpr int kSpare = 4;     // running sums round: keep a few more than k, then rank by the direct sum
constexpr int kAtOnce = 8;    // displacements side by side: a query row is read once for all of them
constexpr int kBlock = Vector::kWidth;

constexpr int blocks(int columns) { return (columns + kBlock - 1) / kBlock * kBlock; }

// A picture as rows of one channel each, [H, C, stride], with `margin` columns of zeros on both sides.
struct Planes {
  std::vector<float> values;
  int channels, margin;
  int64_t stride;

  template <class T>
  Planes(const T* picture, int height, int width, int channels_, int margin_, int threads)
      : channels(channels_), margin(margin_), stride(blocks(width) + 2 * margin_) {
    values.resize((size_t)height * channels * stride);
    parallel_for(height, 8, threads, [&](int64_t row) {
      for (int c = 0; c < channels; ++c)
        for (int column = 0; column < width; ++column)
          values[(row * channels + c) * stride + margin + column] = to_float(picture[(row * width + column) * channels + c]);
    });
  }
  const float* row(int row) const { return values.data() + (int64_t)row * channels * stride + margin; }
};

// The sweep of one band of query rows.
template <class T>
struct Band {
  const Problem<T>& p;
  const Planes &query, &key;
  int top, rows, kept;
  std::vector<uint32_t> position;                  // [rows, W, kept]
  std::vector<float> value, worst;                 // [rows, W, kept], [rows, W] and a vector
  int stride;                                      // of the rows below: a margin of a radius, blocks of columns, room to read on
  std::vector<float> history, newer, running;      // [kAtOnce, patch_size + 1, stride], [kAtOnce, stride] twice
  std::vector<Born> born;                          // of no use here, but a list has it

  Band(const Problem<T>& problem, const Planes& q, const Planes& k, int band, int kept_)
      : p(problem), query(q), key(k), top(band * kSweepRows), rows(at_most(kSweepRows, p.query_height - top)), kept(kept_),
        position((size_t)rows * p.query_width * kept, kNoPosition), value(position.size(), kNoMatch),
        worst((size_t)rows * p.query_width + Vector::kWidth, kNoMatch), stride(blocks(p.query_width) + 2 * p.radius + kBlock),
        history((size_t)kAtOnce * (2 * p.radius + 2) * stride), newer((size_t)kAtOnce * stride), running(newer.size()), born(kept) {
    for (int y = 0; y < rows; ++y)
      for (int x = 0; x < p.query_width; ++x)
        if (!p.searched((int64_t)(top + y) * p.query_width + x)) worst[(size_t)y * p.query_width + x] = INFINITY;
  }

  // The displacements (down, right) to (down, right + kAtOnce - 1). A key patch that is whole lies in columns where both
  // pictures have pixels: sums elsewhere are never looked at, but those beyond the query, which stay zero.
  void sweep(int down, int right) {
    const int r = p.radius, size = 2 * r + 1;
    const int from = at_least(0, -(right + kAtOnce - 1)) / kBlock * kBlock;
    const int end = at_most(blocks(p.query_width), blocks(at_least(p.key_width - right, 0)));
    const int first = at_least(top, r - down), last = at_most(top + rows, p.key_height - r - down);
    if (from >= end || first >= last) return;
    for (int row = 0; row < kAtOnce * (size + 1); ++row) {
      float* sums = history.data() + (size_t)row * stride + r;
      std::fill(sums + from, sums + end, 0.f);
    }
    clear_newer(from, end);
    for (int row = first - r, slot = 0; row < last + r; ++row, slot = (slot + 1) % size) {
      if (slot == 0 && row > first - r) start_block(size, from, end);
      const bool inside = row >= 0 && row < p.query_height && row + down >= 0 && row + down < p.key_height;
      if (p.dot) advance<true>(inside ? row : -1, down, right, from, end, slot);
      else advance<false>(inside ? row : -1, down, right, from, end, slot);
      if (row < first + r) continue;
      for (int i = 0; i < kAtOnce; ++i)
        keep_row(row - r, down, right + i, at_least(0, r - right - i), at_most(p.query_width, p.key_width - r - right - i),
                 running.data() + (size_t)i * stride + r);
    }
  }

  void clear_newer(int from, int end) {
    for (int i = 0; i < kAtOnce; ++i) {
      float* sums = newer.data() + (size_t)i * stride + p.radius;
      std::fill(sums + from, sums + end, 0.f);
    }
  }

  // The sums over patch_size rows are those of the rows of this block of patch_size so far, `newer`, and of the rest of the
  // block before, which `history` holds as sums up to its end (van Herk 1992). Nothing is ever subtracted, so one large or
  // infinite number spoils no sum that does not contain it.
  void start_block(int size, int from, int end) {
    for (int i = 0; i < kAtOnce; ++i)
      for (int slot = size - 2; slot >= 0; --slot) {
        float* __restrict row = history.data() + ((size_t)i * (size + 1) + slot) * stride + p.radius;
        const float* __restrict next = row + stride;
        for (int x = from; x < end; ++x) row[x] += next[x];
      }
    clear_newer(from, end);
  }

  // The pixel similarities of `row` (none when negative) take a place in the history and enter the sums.
  template <bool kDot>
  void advance(int row, int down, int right, int from, int end, int slot) {
    const int size = 2 * p.radius + 1;
    const float* a = query.row(at_least(row, 0));
    const float* b = key.row(row < 0 ? 0 : row + down) + right;
    const int channels = row < 0 ? 0 : p.channels;
    const int64_t a_stride = query.stride, b_stride = key.stride, history_stride = (int64_t)(size + 1) * stride;
    float* entering = history.data() + (size_t)slot * stride + p.radius;
    float *block = newer.data() + p.radius, *sums = running.data() + p.radius;
    for (int x = from; x < end; x += kBlock) {  // registers of sums: the channels pass, the sums stay
      Vector added[kAtOnce];
      for (Vector& sum : added) sum = Vector::zero();
      for (int c = 0; c < channels; ++c) {
        const Vector own = Vector::load(a + c * a_stride + x);
        for (int i = 0; i < kAtOnce; ++i) add<kDot>(added[i], own, Vector::load(b + c * b_stride + x + i));
      }
      for (int i = 0; i < kAtOnce; ++i) {
        const int64_t at = (int64_t)i * stride + x;
        float* place = entering + i * history_stride + x;
        added[i].store(place);
        added[i] = Vector::load(block + at) + added[i];
        added[i].store(block + at);
        (added[i] + Vector::load(place + stride)).store(sums + at);  // beyond the last row of the history is a row of zeros
      }
    }
    for (int i = 0; i < kAtOnce; ++i) std::fill_n(sums + (int64_t)i * stride + p.query_width, p.radius, 0.f);
  }
  template <bool kDot>
  static void add(Vector& sum, Vector a, Vector b) {
    if (kDot) sum.add_product(a, b);
    else sum.add_square(a, b);
  }

  // Box sums along the row, compared with the worst kept: few candidates pass, so look at a vector before its pixels.
  void keep_row(int row, int down, int right, int low, int high, const float* sums) {
    constexpr int w = Vector::kWidth;
    const int r = p.radius;
    float* limit = worst.data() + (size_t)(row - top) * p.query_width;
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
  const Planes query(p.query, p.query_height, p.query_width, p.channels, 0, threads);
  const Planes key(p.key, p.key_height, p.key_width, p.channels, 2 * kBlock + kAtOnce, threads);
  const int bands = (p.query_height + kSweepRows - 1) / kSweepRows;
  parallel_for(bands, 1, threads, [&](int64_t index) {
    Band<T> band(p, query, key, (int)index, p.k + kSpare);
    for (int down = p.radius - (band.top + band.rows - 1); down < p.key_height - p.radius - band.top; ++down)
      for (int right = p.radius - (p.query_width - 1); right < p.key_width - p.radius; right += kAtOnce) band.sweep(down, right);
    band.rank(field, similarity);
  });
}

template void exact(const Problem<float>&, uint32_t*, float*, int);
template void exact(const Problem<Half>&, uint32_t*, float*, int);
template void exact(const Problem<Brain>&, uint32_t*, float*, int);
template void exact(const Problem<double>&, uint32_t*, float*, int);

}  // namespace PSAL_ISA
}  // namespace psal
