// Composition of a fill in the gradient domain (Perez et al. 2003; seams as in Darabi et al. 2012). Compiled once per
// instruction set (see dispatch.cpp).
//
// Minimised over the unknown pixels u, known ones fixed:
//   sum over edges w |u(q) - u(p) - g(p, q)|^2 + fidelity * sum |u(p) - copy(p)|^2
// where copy(p) is the pixel that p was copied from and g is, between two pixels whose sources are neighbours too, the step
// between these; at a seam, of the two sources' own steps the one nearer to the step between the copies; at the hole's edge
// the own step of the unknown pixel's source. Seams and the hole's edge weigh less the more g differs from the step that is there.
#include <string.h>

#include "copies.h"
#include "kernels.h"
#include "multigrid.h"

namespace psal {
namespace PSAL_ISA {
namespace {

constexpr int kChannels = 4;       // at most
// A step that is wrong by so much is an edge of the subject, not a difference of light: between two pieces, and at the hole's
// edge, where what is known is certain. It keeps the least weight, so that nothing tears.
constexpr float kSeam = 0.25f, kLeastSeam = 0.02f;
// A source is smooth where nothing within so many pixels differs from it by more: sky, a blurred ground, a glow.
constexpr int kSmoothRadius = 2;
constexpr float kSmooth = 0.1f;
constexpr float kEdge = 0.5f, kLeastEdge = 0.001f;

using Colour = float[kChannels];

struct Part {
  const psal_compose_args& a;
  std::vector<uint32_t> source;  // of each unknown pixel of the box, row << 16 | column

  explicit Part(const psal_compose_args& args) : a(args), source((int64_t)args.height * args.width) {
    const int64_t size = (int64_t)a.height * a.width;
    const int32_t* from = a.origin;
    for (int64_t i = 0; i < size; ++i)
      if (a.unknown[i]) {
        source[i] = (uint32_t)from[0] << 16 | (uint32_t)from[1];
        from += 2;
      }
  }

  Place source_of(int y, int x) const {
    const uint32_t packed = source[(int64_t)y * a.width + x];
    return {(int)(packed >> 16), (int)(packed & 0xffff)};
  }

  void read(Place at, Colour& out) const {
    const int64_t first = at.row * a.row_stride + at.column * a.column_stride;
    for (int c = 0; c < a.channels; ++c) {
      const int64_t i = first + c * a.channel_stride;
      switch (a.dtype) {
        case PSAL_UINT8: out[c] = ((const uint8_t*)a.pixels)[i] / 255.f; break;
        case PSAL_UINT16: out[c] = ((const uint16_t*)a.pixels)[i] / 65535.f; break;
        default: out[c] = ((const float*)a.pixels)[i];
      }
    }
  }

  // The step from one place of the source to the next one, false where either may not be looked at.
  bool step(Place from, Place to, Colour& out) const {
    if (!usable(a, from) || !usable(a, to)) return false;
    Colour first;
    read(from, first);
    read(to, out);
    for (int c = 0; c < a.channels; ++c) out[c] -= first[c];
    return true;
  }

  bool smooth(Place at) const {
    Colour difference;
    for (int down = -kSmoothRadius; down <= kSmoothRadius; ++down)
      for (int right = -kSmoothRadius; right <= kSmoothRadius; ++right) {
        if (!step(at, {at.row + down, at.column + right}, difference)) continue;
        for (int c = 0; c < a.channels; ++c)
          if (fabsf(difference[c]) > kSmooth) return false;
      }
    return true;
  }

  // What is missing in the step from (y, x) to its neighbour (y + down, x + right), which is in the box; returns its weight.
  // The pixel at (y, x) is unknown.
  float missing(int y, int x, int down, int right, Colour& out) const {
    const Place own = source_of(y, x), onward = {own.row + down, own.column + right};
    const int row = y + down, column = x + right;
    const bool seam = a.unknown[(int64_t)row * a.width + column];
    const Place other = seam ? source_of(row, column) : Place{a.top + row, a.left + column};
    for (int c = 0; c < a.channels; ++c) out[c] = 0;
    if (seam && other.row == onward.row && other.column == onward.column) return 1;
    Colour here, present, wanted, before;
    read(own, here);
    read(other, present);
    for (int c = 0; c < a.channels; ++c) present[c] -= here[c];
    bool found = step(own, onward, wanted);
    if (seam && step({other.row - down, other.column - right}, other, before) &&
        (!found || nearer(before, wanted, present, down + right < 0))) {
      memcpy(wanted, before, sizeof wanted);
      found = true;
    }
    float most = 0;
    for (int c = 0; c < a.channels; ++c) {
      out[c] = (found ? wanted[c] : 0.f) - present[c];
      most = std::max(most, fabsf(out[c]));
    }
    if (seam && most > 0 && smooth(own) && smooth(other)) return 1;
    const float beside = most / (seam ? kSeam : kEdge);
    return std::max(expf(-beside * beside), seam ? kLeastSeam : kLeastEdge);
  }

  // Whether a is nearer than b; of equals the one of the upper or left pixel, so that both ends of an edge agree.
  bool nearer(const Colour& first, const Colour& second, const Colour& to, bool backwards) const {
    float one = 0, two = 0;
    for (int c = 0; c < a.channels; ++c) {
      one += (first[c] - to[c]) * (first[c] - to[c]);
      two += (second[c] - to[c]) * (second[c] - to[c]);
    }
    return backwards ? one <= two : one < two;
  }
};

// One row of the equation: matrix and right sides, [channels] planes.
void assemble(const Part& part, int y, Level& level, std::vector<std::vector<float>>& right_sides) {
  const auto& a = part.a;
  for (int x = 0; x < a.width; ++x) {
    if (!a.unknown[(int64_t)y * a.width + x]) continue;
    const int64_t at = level.row(y) + x;
    float diagonal = a.fidelity;
    Colour total = {}, step;
    for (const auto& move : kMoves) {
      const int there = y + move[0], beside = x + move[1];
      if (there < 0 || there >= a.height || beside < 0 || beside >= a.width) continue;
      const float weight = part.missing(y, x, move[0], move[1], step);
      for (int c = 0; c < a.channels; ++c) total[c] -= weight * step[c];
      diagonal += weight;
      const bool inner = a.unknown[(int64_t)there * a.width + beside];
      if (inner && move[0] > 0) level.down[at] = weight;
      if (inner && move[1] > 0) level.right[at] = weight;
    }
    level.diagonal[at] = diagonal;
    for (int c = 0; c < a.channels; ++c) right_sides[c][at] = total[c];
  }
}

}  // namespace

void compose(const psal_compose_args& a) {
  const Part part(a);
  Multigrid grid(a.height, a.width, a.place.threads);
  std::vector<std::vector<float>> right_sides(a.channels, std::vector<float>(grid.finest().b.size()));
  parallel_for(a.height, 8, a.place.threads, [&](int64_t y) { assemble(part, (int)y, grid.finest(), right_sides); });
  grid.build(a.fidelity);
  for (int c = 0; c < a.channels; ++c) {
    grid.finest().b.swap(right_sides[c]);
    std::vector<float>().swap(right_sides[c]);
    const std::vector<float>& correction = grid.solve(a.steps, a.tolerance);
    float* out = a.out + c;
    for (int y = 0; y < a.height; ++y)
      for (int x = 0; x < a.width; ++x) {
        if (!a.unknown[(int64_t)y * a.width + x]) continue;
        Colour copy;
        part.read(part.source_of(y, x), copy);
        *out = copy[c] + correction[grid.finest().row(y) + x];
        out += a.channels;
      }
  }
}

}  // namespace PSAL_ISA
}  // namespace psal
