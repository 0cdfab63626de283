// What a search makes of sketches: those of the key, those of the queries that it works on, and which keys they rule out.
#pragma once
#include <vector>

#include "sketcher.h"

namespace psal {
namespace PSAL_ISA {

// What a search knows of one query's sketch: `Filter` of Query.
struct SketchFilter {
  const Sketch* keys = nullptr;  // NULL: nothing is rejected
  int width = 0;
  float per_step = 0;            // one over the step
  Sketch own = {};
  int limit = 0;

  void update(float worst) {
    const float steps = sqrtf(-worst) * per_step * 1.00001f;
    limit = steps < 30000.f ? (int)(steps * steps) : INT32_MAX;
  }
  void prefetch(int row, int column) const {
    if (keys) __builtin_prefetch(keys + (int64_t)row * width + column);
  }
  bool rejects(int row, int column) const { return keys && own.distance(keys[(int64_t)row * width + column]) > limit; }
};

// The sketches of the key, and how those of queries are made.
template <class T>
struct Sketches {
  const Problem<T>& problem;
  const Sketcher<T> sketcher;
  std::vector<Sketch> key;

  Sketches(const Problem<T>& p, int threads) : problem(p), sketcher(p) {
    if (!(sketcher.step() > 0)) return;
    key.resize((size_t)p.key_height * p.key_width);
    sketcher.sketch(p.key, p.key_height, p.key_width, threads, key.data());
  }
  bool tell() const { return !key.empty(); }  // false: there are none
};

// The sketches of a part of the queries. They are made anew in each iteration: that takes less than a tenth of its time, and no
// memory that grows with the picture.
template <class T>
class QuerySketches {
 public:
  explicit QuerySketches(const Sketches<T>& s) : of(s) {}

  void make(Part wanted) {
    const Problem<T>& p = of.problem;
    part = {at_least(wanted.top, p.radius), at_most(wanted.bottom, p.query_height - p.radius), at_least(wanted.left, p.radius),
            at_most(wanted.right, p.query_width - p.radius)};
    if (part.top >= part.bottom || part.left >= part.right) return;
    numbers.resize((size_t)(part.bottom - part.top) * (part.right - part.left));
    of.sketcher.sketch_part(p.query, p.query_width, part, numbers.data(), part.right - part.left);
  }
  // What leaves the picture has no sketch.
  bool has(int row, int column) const {
    return row >= part.top && row < part.bottom && column >= part.left && column < part.right;
  }
  const Sketch& at(int row, int column) const {
    return numbers[(size_t)(row - part.top) * (part.right - part.left) + column - part.left];
  }
  // Of a query without a sketch nothing is rejected.
  SketchFilter filter(int row, int column, float worst) const {
    if (!has(row, column)) return {};
    SketchFilter out = {of.key.data(), of.problem.key_width, 1 / of.sketcher.step(), at(row, column), 0};
    out.update(worst);
    return out;
  }

 private:
  const Sketches<T>& of;
  Part part = {};
  std::vector<Sketch> numbers;
};

}  // namespace PSAL_ISA
}  // namespace psal
