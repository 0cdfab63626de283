// Conjugate gradients for a screened Poisson equation on the unknown pixels of a picture, preconditioned by a multigrid
// V-cycle. Compiled once per instruction set.
//
// The number of threads changes nothing: sweeps are Jacobi steps, and sums are taken row by row in one order.
#pragma once
#include <math.h>
#include <stdint.h>

#include <algorithm>
#include <vector>

#include "threads.h"

namespace psal {
namespace PSAL_ISA {

// One resolution. All planes have a margin of a pixel on each side, zero there and on known pixels. The matrix is
//   (A x)(p) = diagonal(p) x(p) - sum over the four neighbours q of weight(p, q) x(q).
struct Level {
  int height, width;
  int64_t stride;
  std::vector<float> right, down;         // weight of the edge to the next column, to the next row
  std::vector<float> diagonal, inverse;   // inverse: 1 / diagonal, 0 on known pixels
  std::vector<int> begin, end;            // unknown pixels of each row lie in columns [begin, end)
  std::vector<float> x, b, t;             // solution, right side, room for a sweep

  Level(int height, int width) : height(height), width(width), stride(width + 2), begin(height), end(height) {
    for (auto* plane : {&right, &down, &diagonal, &inverse, &x, &b, &t}) plane->resize((height + 2) * stride);
  }
  int64_t row(int y) const { return (y + 1) * stride + 1; }
  bool unknown(int64_t at) const { return diagonal[at] > 0; }

  // Once the diagonal is known.
  void close() {
    for (int y = 0; y < height; ++y) {
      int first = width, last = 0;
      for (int x = 0; x < width; ++x)
        if (unknown(row(y) + x)) {
          inverse[row(y) + x] = 1 / diagonal[row(y) + x];
          first = std::min(first, x);
          last = x + 1;
        }
      begin[y] = std::min(first, last);
      end[y] = last;
    }
  }
};

class Multigrid {
 public:
  // The finest level is filled by the caller: right, down, diagonal; `own` is what all pixels' diagonals have beside edges.
  Multigrid(int height, int width, int threads) : threads_(threads) { levels_.emplace_back(height, width); }

  Level& finest() { return levels_.front(); }

  // Builds the coarser levels, down to one where `own` holds a pixel as firmly as its neighbours do.
  void build(float own) {
    finest().close();
    std::vector<float> share(finest().diagonal.size()), edge(share.size());
    Level& top = finest();
    for (int y = 0; y < top.height; ++y)
      for (int64_t at = top.row(y) + top.begin[y]; at < top.row(y) + top.end[y]; ++at)
        if (top.unknown(at)) {
          share[at] = own;
          const float inner = top.right[at] + top.right[at - 1] + top.down[at] + top.down[at - top.stride];
          edge[at] = std::max(top.diagonal[at] - inner - own, 0.f);
        }
    for (float held = 4 * own; held < 2 && std::max(levels_.back().height, levels_.back().width) > 4; held *= 4)
      add_coarser(share, edge);
  }

  // Solves A x = b for the b of the finest level, which is overwritten, from x = 0. Returns x: valid until the next call.
  const std::vector<float>& solve(int steps, float tolerance) {
    Level& top = finest();
    solution_.assign(top.x.size(), 0);
    direction_.assign(top.x.size(), 0);
    const double goal = dot(top.b, top.b) * tolerance * tolerance;
    double energy = 0;
    for (int step = 0; step < steps; ++step) {
      if (step == 0 && goal == 0) break;
      cycle(0);
      const double before = energy;
      energy = dot(top.b, top.x);
      const float turn = step ? (float)(energy / before) : 0.f;
      each_row(top, [&](int64_t at, int64_t end, int) {
        for (; at < end; ++at) direction_[at] = top.x[at] + turn * direction_[at];
      });
      each_row(top, [&](int64_t at, int64_t end, int) {
        for (; at < end; ++at) top.t[at] = product(top, direction_.data(), at);
      });
      const double curvature = dot(direction_, top.t);
      if (!(curvature > 0)) break;
      const float rate = (float)(energy / curvature);
      each_row(top, [&](int64_t at, int64_t end, int) {
        for (; at < end; ++at) {
          solution_[at] += rate * direction_[at];
          top.b[at] -= rate * top.t[at];
        }
      });
      if (dot(top.b, top.b) <= goal) break;
    }
    return solution_;
  }

 private:
  static constexpr int64_t kAlone = 1 << 14;  // pixels that one thread has done before others have begun
  // Two Jacobi steps of these lengths damp best what a coarser level cannot see: eigenvalues from 1/2 to 2 (Chebyshev).
  static constexpr float kSteps[2] = {0.5621f, 1.3891f};
  static constexpr int kCoarsest = 4;  // pairs of steps where there is no coarser level

  std::vector<Level> levels_;
  std::vector<float> solution_, direction_;
  int threads_;

  template <class Visit>
  void each_row(const Level& level, Visit visit) const {
    const int64_t grain = std::max<int64_t>(1, kAlone / level.width);
    parallel_for(level.height, grain, threads_, [&](int64_t y) {
      visit(level.row((int)y) + level.begin[y], level.row((int)y) + level.end[y], (int)y);
    });
  }

  double dot(const std::vector<float>& a, const std::vector<float>& b) const {
    constexpr int kLanes = 8;
    const Level& top = levels_.front();
    std::vector<double> sums(top.height);
    each_row(top, [&](int64_t at, int64_t end, int y) {
      double lanes[kLanes] = {}, total = 0;
      for (; at + kLanes <= end; at += kLanes)
        for (int i = 0; i < kLanes; ++i) lanes[i] += (double)a[at + i] * (double)b[at + i];
      for (; at < end; ++at) total += (double)a[at] * (double)b[at];
      for (int i = 0; i < kLanes; ++i) total += lanes[i];
      sums[y] = total;
    });
    double total = 0;
    for (double sum : sums) total += sum;
    return total;
  }

  static inline float product(const Level& l, const float* x, int64_t at) {
    return l.diagonal[at] * x[at] - (l.right[at] * x[at + 1] + l.right[at - 1] * x[at - 1]) -
           (l.down[at] * x[at + l.stride] + l.down[at - l.stride] * x[at - l.stride]);
  }

  void sweep(Level& l, float step) const {
    const float* x = l.x.data();
    each_row(l, [&](int64_t at, int64_t end, int) {
      for (; at < end; ++at) l.t[at] = x[at] + step * l.inverse[at] * (l.b[at] - product(l, x, at));
    });
    std::swap(l.x, l.t);
  }

  // x becomes about A^-1 b, by a linear map that is symmetric and positive: what conjugate gradients ask for.
  void cycle(size_t number) {
    Level& l = levels_[number];
    each_row(l, [&](int64_t at, int64_t end, int) {
      for (; at < end; ++at) l.x[at] = kSteps[0] * l.inverse[at] * l.b[at];
    });
    sweep(l, kSteps[1]);
    if (number + 1 == levels_.size()) {
      for (int i = 1; i < kCoarsest; ++i) sweep(l, kSteps[0]), sweep(l, kSteps[1]);
      return;
    }
    const float* x = l.x.data();
    each_row(l, [&](int64_t at, int64_t end, int) {
      for (; at < end; ++at) l.t[at] = l.b[at] - product(l, x, at);
    });
    Level& coarse = levels_[number + 1];
    restrict_to(coarse, l);
    cycle(number + 1);
    prolong(coarse, l);
    sweep(l, kSteps[1]);
    sweep(l, kSteps[0]);
  }

  // A pixel takes 3/4 of its parent and 1/4 of the next nearest one, in each direction; at the border its parent alone.
  static int other(int fine, int coarse_size) { return std::clamp(fine / 2 + (fine % 2 ? 1 : -1), 0, coarse_size - 1); }

  void prolong(const Level& coarse, Level& fine) const {
    each_row(fine, [&](int64_t at, int64_t end, int y) {
      if (at == end) return;
      const float* near = coarse.x.data() + coarse.row(y / 2);
      const float* next = coarse.x.data() + coarse.row(other(y, coarse.height));
      const auto mixed = [&](int x) { return 0.75f * near[x] + 0.25f * next[x]; };
      for (int64_t start = fine.row(y); at < end; ++at) {
        const int x = (int)(at - start);
        const float value = 0.75f * mixed(x / 2) + 0.25f * mixed(other(x, coarse.width));
        fine.x[at] += fine.inverse[at] > 0 ? value : 0.f;
      }
    });
  }

  // The transpose of `prolong`, of the residual in t.
  void restrict_to(Level& coarse, const Level& fine) const {
    each_row(coarse, [&](int64_t at, int64_t end, int row) {
      const float* rows[4];
      float weights[4];
      int count = 0;
      for (int y = std::max(2 * row - 1, 0); y <= std::min(2 * row + 2, fine.height - 1); ++y) {
        rows[count] = fine.t.data() + fine.row(y);
        weights[count++] = (y / 2 == row ? 0.75f : 0.f) + (other(y, coarse.height) == row ? 0.25f : 0.f);
      }
      const auto column = [&](int x) {
        float total = 0;
        for (int i = 0; i < count; ++i) total += weights[i] * rows[i][x];
        return total;
      };
      for (int64_t start = coarse.row(row); at < end; ++at) {
        const int x = (int)(at - start);
        float total = 0;
        for (int from = std::max(2 * x - 1, 0); from <= std::min(2 * x + 2, fine.width - 1); ++from)
          total += ((from / 2 == x ? 0.75f : 0.f) + (other(from, coarse.width) == x ? 0.25f : 0.f)) * column(from);
        coarse.b[at] = coarse.inverse[at] > 0 ? total : 0.f;
      }
    });
  }

  // The equation at half the resolution: two parallel edges of two steps each are as firm as one of half the sum. What holds a
  // pixel at the hole's edge is half a pixel further from the centre of the coarser one.
  void add_coarser(std::vector<float>& share, std::vector<float>& edge) {
    const Level& fine = levels_.back();
    Level coarse((fine.height + 1) / 2, (fine.width + 1) / 2);
    std::vector<float> coarse_share(coarse.diagonal.size()), coarse_edge(coarse.diagonal.size());
    for (int y = 0; y < fine.height; ++y)
      for (int x = fine.begin[y]; x < fine.end[y]; ++x) {
        const int64_t from = fine.row(y) + x, to = coarse.row(y / 2) + x / 2;
        if (!fine.unknown(from)) continue;
        coarse_share[to] += share[from];
        coarse_edge[to] += 2 * edge[from] / (2 + edge[from]);
        if (x % 2) coarse.right[to] += fine.right[from] / 2;
        if (y % 2) coarse.down[to] += fine.down[from] / 2;
      }
    for (int y = 0; y < coarse.height; ++y)
      for (int64_t at = coarse.row(y); at < coarse.row(y) + coarse.width; ++at)
        if (coarse_share[at] > 0)
          coarse.diagonal[at] = coarse_share[at] + coarse_edge[at] + coarse.right[at] + coarse.right[at - 1] + coarse.down[at] +
                                coarse.down[at - coarse.stride];
    coarse.close();
    share.swap(coarse_share);
    edge.swap(coarse_edge);
    levels_.push_back(std::move(coarse));
  }
};

}  // namespace PSAL_ISA
}  // namespace psal
