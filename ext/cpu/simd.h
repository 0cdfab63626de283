// Vectors of float for the instruction set this file is compiled for, loaded from float32, float16 or bfloat16.
// Loads take a count so that a row need not be a multiple of the vector's width: the lanes beyond it are zero.
//
// A sum over many numbers depends on its order. Lanes has one for all instruction sets, so that all find the same field. The
// compiler may not fuse a product and a sum by itself (-ffp-contract=off): where that is done, it is written.
#pragma once
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace psal {
namespace PSAL_ISA {  // these types differ by instruction set: one name for all would let the linker mix them

struct Half { uint16_t bits; };
struct Brain { uint16_t bits; };  // bfloat16

inline float to_float(float v) { return v; }
inline float to_float(Brain v) {
  const uint32_t bits = (uint32_t)v.bits << 16;
  float out;
  memcpy(&out, &bits, 4);
  return out;
}
inline float to_float(Half v) {  // _Float16 arithmetic needs an x86-64 extension; its conversions do not
  const uint32_t sign = (uint32_t)(v.bits & 0x8000) << 16, magnitude = v.bits & 0x7fff;
  uint32_t bits = sign | ((magnitude << 13) + 0x38000000);
  if (magnitude >= 0x7c00) bits += 0x38000000;  // infinity and NaN
  float out;
  memcpy(&out, &bits, 4);
  if (magnitude < 0x400) {  // subnormal: magnitude * 2^-24
    out = (float)magnitude * 5.9604644775390625e-8f;
    if (sign) out = -out;
  }
  return out;
}
inline float to_float(double v) { return (float)v; }

// a * b + c, rounded once where the instruction set can; the baseline of x86-64 rounds twice, and its results differ.
inline float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
inline double multiply_add(double a, double b, double c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

#if defined(__SSE2__)
inline float sum_of(__m128 v) {  // (v0 + v2) + (v1 + v3)
  v = _mm_add_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps(v, v, 1)));
}
#endif
#if defined(__AVX2__)
inline float sum_of(__m256 v) { return sum_of(_mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1))); }
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)

struct Vector {
  static constexpr int kWidth = 16;
  __m512 v;
  static Vector zero() { return {_mm512_setzero_ps()}; }
  static Vector all(float x) { return {_mm512_set1_ps(x)}; }
  static Vector load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vector load(const Half* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p))}; }
  static Vector load(const Brain* p) { return widen(_mm256_loadu_si256((const __m256i*)p)); }
  static Vector load(const float* p, int n) { return {_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p)}; }
  static Vector load(const Half* p, int n) { return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p))}; }
  static Vector load(const Brain* p, int n) { return widen(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p)); }
  static Vector widen(__m256i bits) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))}; }
  void add_square(Vector a, Vector b) { const __m512 d = _mm512_sub_ps(a.v, b.v); v = _mm512_fmadd_ps(d, d, v); }
  void add_product(Vector a, Vector b) { v = _mm512_fmadd_ps(a.v, b.v, v); }
  Vector operator+(Vector other) const { return {_mm512_add_ps(v, other.v)}; }
  Vector operator-(Vector other) const { return {_mm512_sub_ps(v, other.v)}; }
  static bool any_above(Vector a, Vector b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ) != 0; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  float sum() const { return sum_of(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1))); }
};

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

struct Vector {
  static constexpr int kWidth = 8;
  __m256 v;
  static Vector zero() { return {_mm256_setzero_ps()}; }
  static Vector all(float x) { return {_mm256_set1_ps(x)}; }
  static Vector load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vector load(const Half* p) { return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p))}; }
  static Vector load(const Brain* p) { return widen(_mm_loadu_si128((const __m128i*)p)); }
  static Vector load(const float* p, int n) {
    static const int32_t kMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return {_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i*)(kMask + 8 - n)))};
  }
  static Vector load(const Half* p, int n) { return {_mm256_cvtph_ps(tail(p, n))}; }
  static Vector load(const Brain* p, int n) { return widen(tail(p, n)); }
  static Vector widen(__m128i bits) { return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))}; }
  static __m128i tail(const void* p, int n) {
    uint16_t copy[8] = {};
    memcpy(copy, p, 2 * (size_t)n);
    return _mm_loadu_si128((const __m128i*)copy);
  }
  void add_square(Vector a, Vector b) { const __m256 d = _mm256_sub_ps(a.v, b.v); v = _mm256_fmadd_ps(d, d, v); }
  void add_product(Vector a, Vector b) { v = _mm256_fmadd_ps(a.v, b.v, v); }
  Vector operator+(Vector other) const { return {_mm256_add_ps(v, other.v)}; }
  Vector operator-(Vector other) const { return {_mm256_sub_ps(v, other.v)}; }
  static bool any_above(Vector a, Vector b) { return _mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)) != 0; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  float sum() const { return sum_of(v); }
};

#elif defined(__SSE2__)

struct Vector {
  static constexpr int kWidth = 4;
  __m128 v;
  static Vector zero() { return {_mm_setzero_ps()}; }
  static Vector all(float x) { return {_mm_set1_ps(x)}; }
  static Vector load(const float* p) { return {_mm_loadu_ps(p)}; }
  template <class T> static Vector load(const T* p) {
    return {_mm_setr_ps(to_float(p[0]), to_float(p[1]), to_float(p[2]), to_float(p[3]))};
  }
  template <class T> static Vector load(const T* p, int n) {
    float copy[4] = {};
    for (int i = 0; i < n; ++i) copy[i] = to_float(p[i]);
    return load(copy);
  }
  void add_square(Vector a, Vector b) { const __m128 d = _mm_sub_ps(a.v, b.v); v = _mm_add_ps(v, _mm_mul_ps(d, d)); }
  void add_product(Vector a, Vector b) { v = _mm_add_ps(v, _mm_mul_ps(a.v, b.v)); }
  Vector operator+(Vector other) const { return {_mm_add_ps(v, other.v)}; }
  Vector operator-(Vector other) const { return {_mm_sub_ps(v, other.v)}; }
  static bool any_above(Vector a, Vector b) { return _mm_movemask_ps(_mm_cmpgt_ps(a.v, b.v)) != 0; }
  void store(float* p) const { _mm_storeu_ps(p, v); }
  float sum() const { return sum_of(v); }
};

#elif defined(__ARM_NEON)

struct Vector {
  static constexpr int kWidth = 4;
  float32x4_t v;
  static Vector zero() { return {vdupq_n_f32(0)}; }
  static Vector all(float x) { return {vdupq_n_f32(x)}; }
  static Vector load(const float* p) { return {vld1q_f32(p)}; }
  static Vector load(const Half* p) { return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t*)p)))}; }
  static Vector load(const Brain* p) { return {vreinterpretq_f32_u32(vshll_n_u16(vld1_u16((const uint16_t*)p), 16))}; }
  template <class T> static Vector load(const T* p, int n) {
    T copy[4] = {};
    for (int i = 0; i < n; ++i) copy[i] = p[i];
    return load(copy);
  }
  void add_square(Vector a, Vector b) { const float32x4_t d = vsubq_f32(a.v, b.v); v = vfmaq_f32(v, d, d); }
  void add_product(Vector a, Vector b) { v = vfmaq_f32(v, a.v, b.v); }
  Vector operator+(Vector other) const { return {vaddq_f32(v, other.v)}; }
  Vector operator-(Vector other) const { return {vsubq_f32(v, other.v)}; }
  static bool any_above(Vector a, Vector b) { return vmaxvq_u32(vcgtq_f32(a.v, b.v)) != 0; }
  void store(float* p) const { vst1q_f32(p, v); }
  float sum() const { return (v[0] + v[2]) + (v[1] + v[3]); }
};

#else

struct Vector {  // any processor
  static constexpr int kWidth = 4;
  float v[4];
  static Vector zero() { return all(0); }
  static Vector all(float x) { return {{x, x, x, x}}; }
  template <class T> static Vector load(const T* p) { return {{to_float(p[0]), to_float(p[1]), to_float(p[2]), to_float(p[3])}}; }
  template <class T> static Vector load(const T* p, int n) {
    Vector out = zero();
    for (int i = 0; i < n; ++i) out.v[i] = to_float(p[i]);
    return out;
  }
  void add_square(Vector a, Vector b) { for (int i = 0; i < 4; ++i) v[i] += (a.v[i] - b.v[i]) * (a.v[i] - b.v[i]); }
  void add_product(Vector a, Vector b) { for (int i = 0; i < 4; ++i) v[i] += a.v[i] * b.v[i]; }
  Vector operator+(Vector o) const { return {{v[0] + o.v[0], v[1] + o.v[1], v[2] + o.v[2], v[3] + o.v[3]}}; }
  Vector operator-(Vector o) const { return {{v[0] - o.v[0], v[1] - o.v[1], v[2] - o.v[2], v[3] - o.v[3]}}; }
  static bool any_above(Vector a, Vector b) { return a.v[0] > b.v[0] || a.v[1] > b.v[1] || a.v[2] > b.v[2] || a.v[3] > b.v[3]; }
  void store(float* p) const { memcpy(p, v, sizeof v); }
  float sum() const { return (v[0] + v[2]) + (v[1] + v[3]); }
};

#endif

// Sixteen partial sums in as many registers as they take. Their total adds the upper half of the lanes to the lower one until
// one is left. A lane beyond the end of a row gets no number, or zeros: both leave it as it is.
struct Lanes {
  static constexpr int kWidth = 16, kParts = kWidth / Vector::kWidth;
  Vector part[kParts];

  static Lanes zero() {
    Lanes out;
    for (Vector& one : out.part) one = Vector::zero();
    return out;
  }
  template <bool kSquares, class T, class U>
  void add(const T* a, const U* b) {
    for (int i = 0; i < kParts; ++i) add_to<kSquares>(part[i], Vector::load(a + i * Vector::kWidth), Vector::load(b + i * Vector::kWidth));
  }
  template <bool kSquares, class T, class U>
  void add(const T* a, const U* b, int n) {
    for (int i = 0; i < kParts; ++i, a += Vector::kWidth, b += Vector::kWidth, n -= Vector::kWidth) {
      if (n <= 0) return;
      if (kParts > 1 && n >= Vector::kWidth) add_to<kSquares>(part[i], Vector::load(a), Vector::load(b));
      else add_to<kSquares>(part[i], Vector::load(a, n), Vector::load(b, n));
    }
  }
  Lanes operator+(const Lanes& other) const {
    Lanes out;
    for (int i = 0; i < kParts; ++i) out.part[i] = part[i] + other.part[i];
    return out;
  }
  float sum() const {
    Lanes halves = *this;
    for (int left = kParts / 2; left > 0; left /= 2)
      for (int i = 0; i < left; ++i) halves.part[i] = halves.part[i] + halves.part[i + left];
    return halves.part[0].sum();
  }

 private:
  template <bool kSquares>
  static void add_to(Vector& sum, Vector a, Vector b) {
    if (kSquares) sum.add_square(a, b);
    else sum.add_product(a, b);
  }
};

// How the CPU compares two patches: the "lanes" of patchmatch.h are those of Lanes.
struct VectorLanes {
  // Sum of squared differences over `rows` runs of `run` numbers; stops at any row where it reaches `limit`.
  template <class T>
  static float squares(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int rows, int run, float limit) {
    float total = 0;
    for (int row = 0; row < rows; row += 2) {  // the horizontal sum costs as much as a row: look every second one
      Lanes even = Lanes::zero(), odd = Lanes::zero();
      add_row<true>(even, odd, a + row * a_stride, b + row * b_stride, run);
      if (row + 1 < rows) add_row<true>(odd, even, a + (row + 1) * a_stride, b + (row + 1) * b_stride, run);
      total += (even + odd).sum();
      if (total >= limit) break;
    }
    return total;
  }
  template <class T>
  static float dot(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int rows, int run) {
    Lanes even = Lanes::zero(), odd = Lanes::zero();
    for (int row = 0; row < rows; ++row) add_row<false>(even, odd, a + row * a_stride, b + row * b_stride, run);
    return (even + odd).sum() + 0.f;  // never -0, whose sign would depend on the lanes beyond the end of a row
  }
  static float squares(const double* a, int64_t a_stride, const double* b, int64_t b_stride, int rows, int run, float limit) {
    double total = 0;
    for (int row = 0; row < rows && total < limit; ++row)
      for (int i = 0; i < run; ++i) {
        const double d = a[row * a_stride + i] - b[row * b_stride + i];
        total += d * d;
      }
    return (float)total;
  }
  static float dot(const double* a, int64_t a_stride, const double* b, int64_t b_stride, int rows, int run) {
    double total = 0;
    for (int row = 0; row < rows; ++row)
      for (int i = 0; i < run; ++i) total += a[row * a_stride + i] * b[row * b_stride + i];
    return (float)total;
  }

 private:
  template <bool kSquares, class T>
  static void add_row(Lanes& first, Lanes& second, const T* a, const T* b, int run) {
    constexpr int w = Lanes::kWidth;
    int i = 0;
    for (; i + 2 * w <= run; i += 2 * w) {
      first.add<kSquares>(a + i, b + i);
      second.add<kSquares>(a + i + w, b + i + w);
    }
    if (i + w <= run) {
      first.add<kSquares>(a + i, b + i);
      i += w;
    }
    if (i < run) second.add<kSquares>(a + i, b + i, run - i);
  }
};

}  // namespace PSAL_ISA
}  // namespace psal
