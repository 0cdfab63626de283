// Where the seams of a fill of copied pixels lie (the cost of Kwatra et al. 2003, "Graphcut textures", equation 1, lowered by
// iterated conditional modes, Besag 1986). Compiled once per instruction set (see dispatch.cpp).
//
// Each pixel p of the hole is copied from one of the places s that the patches over it would paste there. Minimised is
//   sum over p of doubt * (1 - share of the patches, by weight, that paste s at p)
//   + sum over neighbours p, q whose sources are not neighbours of length + |I(s) - I(t - (q - p))| + |I(s + (q - p)) - I(t)|
// with t the source of q, and each difference at most kMost; at the hole's edge twice the difference from the known pixel.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "copies.h"
#include "kernels.h"

namespace psal {
namespace PSAL_ISA {
namespace {

constexpr int kReach = 3;     // only the patches whose centres are so near have a say: at most 49
constexpr int kCandidates = (2 * kReach + 1) * (2 * kReach + 1);
constexpr float kMost = 0.5f;  // of a difference, white = 1: what does not fit at all does not fit

struct Candidate {
  Place source;
  float weight;
};

class Seams {
 public:
  explicit Seams(const psal_seam_args& args) : a(args), sources((size_t)a.height * a.width), changed(sources.size(), 0) {
    const int32_t* from = a.origin;
    for (size_t i = 0; i < sources.size(); ++i)
      if (a.unknown[i]) {
        sources[i] = {from[0], from[1]};
        from += 2;
      }
  }

  // Pixels of a chequerboard's one colour have no neighbours among themselves: any number of threads gives the same.
  void lower() {
    for (int half = 1; half <= 2 * a.sweeps; ++half) {
      std::vector<uint8_t> moved(a.height, 0);
      parallel_for(a.height, 8, a.place.threads, [&](int64_t y) {
        for (int x = (int)(y + half) & 1; x < a.width; x += 2) {
          const Place at{(int)y, x};
          if (a.unknown[index(at)] && (half <= 2 || beside_changed(at, half - 1)) && choose(at)) {
            changed[index(at)] = (uint8_t)half;
            moved[y] = 1;
          }
        }
      });
      if (half > 1 && std::find(moved.begin(), moved.end(), 1) == moved.end()) return;
    }
  }

  void write() const {
    int32_t* out = a.origin;
    for (size_t i = 0; i < sources.size(); ++i)
      if (a.unknown[i]) {
        *out++ = sources[i].row;
        *out++ = sources[i].column;
      }
  }

 private:
  size_t index(Place at) const { return (size_t)at.row * a.width + at.column; }
  bool inside(Place at) const { return at.row >= 0 && at.row < a.height && at.column >= 0 && at.column < a.width; }

  bool beside_changed(Place at, int half) const {
    for (const auto& move : kMoves)
      if (inside(at + move) && changed[index(at + move)] == half) return true;
    return false;
  }

  float difference(Place first, Place second) const {
    if (!usable(a, first) || !usable(a, second)) return kMost;
    const float* one = a.pixels + first.row * a.row_stride + first.column * a.column_stride;
    const float* two = a.pixels + second.row * a.row_stride + second.column * a.column_stride;
    float sum = 0;
    for (int c = 0; c < a.channels; ++c) {
      const float step = one[c * a.channel_stride] - two[c * a.channel_stride];
      sum += step * step;
    }
    return std::min(kMost, std::sqrt(sum));
  }

  // What the patches over a pixel would paste there, and how many.
  int candidates(Place at, std::array<Candidate, kCandidates>& out) const {
    const int reach = std::min(a.radius, kReach);
    const int64_t size = (int64_t)a.height * a.width;
    int count = 0;
    float total = 0;
    for (int down = -reach; down <= reach; ++down)
      for (int right = -reach; right <= reach; ++right) {
        const Place centre{at.row + down, at.column + right};
        if (!inside(centre) || a.nnf[index(centre)] < 0) continue;
        const Place source{a.nnf[index(centre)] - down, a.nnf[size + index(centre)] - right};
        if (!usable(a, source)) continue;
        const float weight = a.weight[index(centre)];
        total += weight;
        int i = 0;
        while (i < count && !(out[i].source == source)) ++i;
        if (i == count) out[count++] = {source, 0.f};
        out[i].weight += weight;
      }
    for (int i = 0; i < count; ++i) out[i].weight /= std::max(total, 1e-30f);
    return count;
  }

  float seams(Place at, Place source) const {
    float cost = 0;
    for (const auto& move : kMoves) {
      const Place there = at + move, onward = source + move;
      if (inside(there) && a.unknown[index(there)]) {
        const Place other = sources[index(there)];
        if (!(other == onward)) cost += a.length + difference(source, other - move) + difference(onward, other);
      } else if (const Place known{a.top + there.row, a.left + there.column}; usable(a, known)) {
        cost += 2 * difference(onward, known);
      }
    }
    return cost;
  }

  // The best source of a pixel beside what its neighbours have; whether it is another one. Of equals the present one stays.
  bool choose(Place at) {
    std::array<Candidate, kCandidates> found;
    const int count = candidates(at, found);
    const Place present = sources[index(at)];
    Place best = present;
    float least = a.doubt + seams(at, present);
    for (int i = 0; i < count; ++i)
      if (found[i].source == present) least -= a.doubt * found[i].weight;
    for (int i = 0; i < count; ++i) {
      if (found[i].source == present) continue;
      const float cost = a.doubt * (1 - found[i].weight) + seams(at, found[i].source);
      if (cost < least) {
        least = cost;
        best = found[i].source;
      }
    }
    if (best == present) return false;
    sources[index(at)] = best;
    return true;
  }

  const psal_seam_args& a;
  std::vector<Place> sources;    // of the unknown pixels of the box
  std::vector<uint8_t> changed;  // the half sweep in which each last was
};

}  // namespace

void place_seams(const psal_seam_args& args) {
  Seams seams(args);
  seams.lower();
  seams.write();
}

}  // namespace PSAL_ISA
}  // namespace psal
