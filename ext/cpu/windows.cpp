// The window sums of ../windows.h over all pixels, on the CPU. Compiled once per instruction set (see dispatch.cpp).
#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"

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
inline double value_of(double v) { return v; }
template <class T> inline float value_of(T v) { return to_float(v); }

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

// Adds weighted channel vectors, or their differences from the target's own.
template <class T>
struct Sum {
  using Term = typename TermOf<T>::type;
  Term* total;
  const T* own;  // NULL unless centred
  int channels;
  inline void operator()(Term weight, const T* from) {
    Term* __restrict sums = total;
    const T *__restrict other = from, *__restrict centre = own;
    const int count = channels;
    if (centre)
      for (int c = 0; c < count; ++c) sums[c] = multiply_add(weight, (Term)value_of(other[c]) - (Term)value_of(centre[c]), sums[c]);
    else
      for (int c = 0; c < count; ++c) sums[c] = multiply_add(weight, (Term)value_of(other[c]), sums[c]);
  }
};

template <class Visit>
void each_pixel(int height, int width, int threads, Visit visit) {
  parallel_for(height, 4, threads, [&](int64_t row) { visit((int)row, width); });
}

template <class T>
void gather_images(const psal_window_args& a) {
  using Term = typename TermOf<T>::type;
  for (int64_t image = 0; image < a.batch; ++image) {
    const Windows<T> w = Windows<T>::of(a, image);
    Term* out = (Term*)a.out + image * w.queries() * a.k;
    each_pixel(a.query_height, a.query_width, a.place.threads, [&](int row, int width) {
      for (int i = 0; i < a.k; ++i)
        for (int column = 0; column < width; ++column)
          out[i * w.queries() + (int64_t)row * width + column] = w.template gather<OneLane>(row, column, i);
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
    each_pixel(height, width, a.place.threads, [&](int row, int columns) {
      std::vector<Term> total(a.channels);
      for (int column = 0; column < columns; ++column) {
        const int64_t at = ((int64_t)row * width + column) * a.channels;
        std::fill(total.begin(), total.end(), (Term)0);
        Sum<T> add = {total.data(), w.centred ? (kToKey ? w.key : w.query) + at : nullptr, a.channels};
        if (kToKey) w.scatter(row, column, add);
        else w.spread(row, column, add);
        for (int c = 0; c < a.channels; ++c) store(total[c], out + at + c);
      }
    });
  }
}

template <class T>
void log_total_images(const psal_window_args& a) {
  using Term = typename TermOf<T>::type;
  for (int64_t image = 0; image < a.batch; ++image) {
    const Windows<T> w = Windows<T>::of(a, image);
    Term* out = (Term*)a.out + image * w.queries();
    each_pixel(a.query_height, a.query_width, a.place.threads, [&](int row, int width) {
      for (int column = 0; column < width; ++column) out[(int64_t)row * width + column] = w.log_total_of(row, column);
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

// Whether any of `count` matches lies neither in the key nor is -1, -1.
bool any_outside(const int32_t* rows, const int32_t* columns, int64_t count, uint32_t height, uint32_t width) {
  int outside = 0;
  for (int64_t i = 0; i < count; ++i)
    outside |= (((uint32_t)rows[i] >= height) | ((uint32_t)columns[i] >= width)) & ((rows[i] & columns[i]) != -1);
  return outside;
}

// Throws std::domain_error with the first match that is none.
void check_field(const psal_window_args& a) {
  const int64_t queries = (int64_t)a.query_height * a.query_width, planes = (int64_t)a.batch * a.k;
  const int64_t chunk = 1 << 14, chunks = (queries + chunk - 1) / chunk;
  std::atomic<int64_t> bad{planes * chunks};
  parallel_for(planes * chunks, 1 + chunk / (queries + 1), a.place.threads, [&](int64_t at) {
    const int32_t* rows = a.nnf + at / chunks * 2 * queries + at % chunks * chunk;
    const int64_t left = queries - at % chunks * chunk, count = left < chunk ? left : chunk;
    if (!any_outside(rows, rows + queries, count, a.key_height, a.key_width)) return;
    for (int64_t first = bad; at < first && !bad.compare_exchange_weak(first, at);) {
    }
  });
  if (bad == planes * chunks) return;
  const int32_t* rows = a.nnf + bad / chunks * 2 * queries + bad % chunks * chunk;
  while (!any_outside(rows, rows + queries, 1, a.key_height, a.key_width)) ++rows;
  throw std::domain_error("nnf holds (row, column) = (" + std::to_string(rows[0]) + ", " + std::to_string(rows[queries]) +
                          "), expected (0, 0) to (" + std::to_string(a.key_height - 1) + ", " +
                          std::to_string(a.key_width - 1) + "), or (-1, -1) where there is no match");
}

}  // namespace

void gather(const psal_window_args& a) {
  check_field(a);
  by_dtype(a.dtype, [&](auto t) { gather_images<decltype(t)>(a); });
}
void spread(const psal_window_args& a) {
  check_field(a);
  by_dtype(a.dtype, [&](auto t) { vectors<decltype(t), false>(a); });
}
void scatter(const psal_window_args& a) {
  check_field(a);
  by_dtype(a.dtype, [&](auto t) { vectors<decltype(t), true>(a); });
}
void log_total(const psal_window_args& a) {  // a spread over the same field follows, which checks it
  by_dtype(a.dtype, [&](auto t) { log_total_images<decltype(t)>(a); });
}

}  // namespace PSAL_ISA
}  // namespace psal
