// The window sums of ../windows.h over all pixels, on the CPU. Compiled once per instruction set (see dispatch.cpp).
#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"
#include "sums.h"

namespace psal {
namespace PSAL_ISA {
namespace {

inline void store(float v, float* out) { *out = v; }
inline void store(double v, double* out) { *out = v; }
inline void store(float v, Brain* out) {  // round to nearest even
  uint32_t bits;
  memcpy(&bits, &v, 4);
  out->bits = (uint16_t)(v != v ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline void store(float v, Half* out) {
  const _Float16 half = (_Float16)v;  // a conversion only: no instruction set lacks it
  memcpy(&out->bits, &half, 2);
}
struct OneLane {
  template <class Term>
  static double products(const double* a, const double* b, int channels, bool dot) {
    double total = 0;
    for (int c = 0; c < channels; ++c) total += dot ? a[c] * b[c] : (a[c] - b[c]) * (a[c] - b[c]);
    return total;
  }
  template <class Term, class T>
  static float products(const T* a, const T* b, int channels, bool dot) {
    return dot ? VectorLanes::dot(a, 0, b, 0, 1, channels) : VectorLanes::squares(a, 0, b, 0, 1, channels, INFINITY);
  }
  template <class Term> static Term share(Term v) { return v; }
  template <class Term> static Term all(Term v) { return v; }
};

// Whether any match of the queries in a row lies neither in the key nor is -1, -1.
bool any_outside(const psal_window_args& a, int64_t image, int row) {
  const int64_t queries = (int64_t)a.query_height * a.query_width;
  const uint32_t height = a.key_height, width = a.key_width;
  int outside = 0;
  for (int64_t plane = image * a.k; plane < (image + 1) * a.k; ++plane) {
    const int32_t* rows = a.nnf + plane * 2 * queries + (int64_t)row * a.query_width;
    const int32_t* columns = rows + queries;
    for (int i = 0; i < a.query_width; ++i)
      outside |= (((uint32_t)rows[i] >= height) | ((uint32_t)columns[i] >= width)) & ((rows[i] & columns[i]) != -1);
  }
  return outside;
}

// Throws std::domain_error with the first match that is none.
[[noreturn]] void refuse(const psal_window_args& a) {
  const int64_t queries = (int64_t)a.query_height * a.query_width;
  for (int64_t plane = 0;; ++plane)
    for (const int32_t *at = a.nnf + plane * 2 * queries, *end = at + queries; at < end; ++at) {
      if ((uint32_t)at[0] < (uint32_t)a.key_height && (uint32_t)at[queries] < (uint32_t)a.key_width) continue;
      if ((at[0] & at[queries]) == -1) continue;
      throw std::domain_error("nnf holds (row, column) = (" + std::to_string(at[0]) + ", " + std::to_string(at[queries]) +
                              "), expected (0, 0) to (" + std::to_string(a.key_height - 1) + ", " +
                              std::to_string(a.key_width - 1) + "), or (-1, -1) where there is no match");
    }
}

template <class Visit>
void each_row(int height, int threads, Visit visit) {
  parallel_for(height, 4, threads, [&](int64_t row) { visit((int)row); });
}

// Visits the rows of all queries and checks the field on the way. `visit` returns whether a match of the row may lie outside the key.
// The row is checked after its visit, when it is in the cache. The sums leave out what is no match, so nothing is read outside.
template <class Visit>
void each_query_row(const psal_window_args& a, int64_t image, Visit visit) {
  std::atomic<bool> outside{false};
  each_row(a.query_height, a.place.threads, [&](int row) {
    if (visit(row) && any_outside(a, image, row)) outside = true;
  });
  if (outside) refuse(a);
}

template <class T>
void gather_images(const psal_window_args& a) {
  using Term = typename TermOf<T>::type;
  for (int64_t image = 0; image < a.batch; ++image) {
    const Windows<T> w = Windows<T>::of(a, image);
    Term* out = (Term*)a.out + image * w.queries() * a.k;
    each_query_row(a, image, [&](int row) {
      for (int i = 0; i < a.k; ++i)
        for (int column = 0, width = a.query_width; column < width; ++column)
          out[i * w.queries() + (int64_t)row * width + column] = w.template gather<OneLane>(row, column, i);
      return true;
    });
  }
}

// spread and scatter: one channel vector per target pixel. `kToKey` chooses which picture the targets are in.
template <class T, bool kToKey>
void vectors(const psal_window_args& a) {
  using Term = typename TermOf<T>::type;
  const int height = kToKey ? a.key_height : a.query_height, width = kToKey ? a.key_width : a.query_width;
  for (int64_t image = 0; image < a.batch; ++image) {
    const Windows<T> w = Windows<T>::of(a, image);
    T* out = (T*)a.out + image * height * width * a.channels;
    const auto sums_of = [&](int row) {
      std::vector<Term> total(a.channels);
      Sum<T> add(a.channels, w.log_total != nullptr);
      for (int column = 0; column < width; ++column) {
        const int64_t at = ((int64_t)row * width + column) * a.channels;
        add.begin(total.data(), w.centred ? (kToKey ? w.key : w.query) + at : nullptr);
        if (kToKey) w.template scatter<true>(row, column, add);
        else w.template spread<true>(row, column, add);
        add.end();
        for (int c = 0; c < a.channels; ++c) store(total[c], out + at + c);
      }
      return add.met_no_match;
    };
    if (kToKey) {
      each_query_row(a, image, [](int) { return true; });
      each_row(height, a.place.threads, sums_of);
    } else {
      each_query_row(a, image, sums_of);
    }
  }
}

// As Windows::log_total_of, with the exponentials side by side. weights: room for all of a target.
template <class T, class Term>
Term log_total_of(const Windows<T>& w, int row, int column, Term* weights) {
  int count = 0;
  Term highest = (Term)kNoMatch, total = 0;
  w.each_weight(row, column, [&](Term weight) {
    if (!(weight > (Term)kNoMatch)) return;  // NaN too
    weights[count++] = weight;
    highest = weight > highest ? weight : highest;
  });
  if (count == 0) return highest;  // no match at all: -inf
  for (int i = 0; i < count; ++i) weights[i] = weights[i] == highest ? 0 : weights[i] - highest;  // infinity too
  exponentials(weights, count);
  for (int i = 0; i < count; ++i) total += weights[i];
  return highest + log(total);
}

template <class T>
void log_total_images(const psal_window_args& a) {
  using Term = typename TermOf<T>::type;
  for (int64_t image = 0; image < a.batch; ++image) {
    const Windows<T> w = Windows<T>::of(a, image);
    Term* out = (Term*)a.out + image * w.queries();
    each_row(a.query_height, a.place.threads, [&](int row) {
      std::vector<Term> weights((size_t)a.k * a.patch_size * a.patch_size);
      for (int column = 0, width = a.query_width; column < width; ++column)
        out[(int64_t)row * width + column] = log_total_of(w, row, column, weights.data());
    });
  }
}

template <class Run>
void by_dtype(int dtype, Run run) {
  switch (dtype) {
    case PSAL_FLOAT32: return run(0.f);
    case PSAL_FLOAT16: return run(Half{});
    case PSAL_BFLOAT16: return run(Brain{});
    default: return run(0.0);
  }
}

}  // namespace

void gather(const psal_window_args& a) {
  by_dtype(a.dtype, [&](auto t) { gather_images<decltype(t)>(a); });
}
void spread(const psal_window_args& a) {
  by_dtype(a.dtype, [&](auto t) { vectors<decltype(t), false>(a); });
}
void scatter(const psal_window_args& a) {
  by_dtype(a.dtype, [&](auto t) { vectors<decltype(t), true>(a); });
}
void log_total(const psal_window_args& a) {  // a spread over the same field follows, which checks it
  by_dtype(a.dtype, [&](auto t) { log_total_images<decltype(t)>(a); });
}

}  // namespace PSAL_ISA
}  // namespace psal
