// Sums of channel vectors with weights, as spread and scatter need them. Compiled once per instruction set.
//
// The terms of one target are collected first: their exponentials are then taken side by side, their vectors are on the way into
// the cache, and the sums of up to 64 channels stay in registers.
#pragma once
#include <string.h>

#include "../windows.h"
#include "simd.h"

namespace psal {
namespace PSAL_ISA {

// e^x to about two units in the last place, by one chain of multiply_add: the same on all instruction sets that have it fused.
// 2^n is put together from bits, and in two halves where it is no normal number.
inline float exponential(float x) {
  x = x < -104.f ? -104.f : x;  // NaN stays
  x = x > 89.f ? 89.f : x;
  constexpr float kShift = 12582912.f;  // 1.5 * 2^23: adding it leaves an integer in the last bits
  const float shifted = multiply_add(x, 1.44269504f, kShift), n = shifted - kShift;
  float r = multiply_add(n, -0.693359375f, x);
  r = multiply_add(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;  // Cephes' polynomial (Moshier)
  p = multiply_add(p, r, 1.3981999507e-3f);
  p = multiply_add(p, r, 8.3334519073e-3f);
  p = multiply_add(p, r, 4.1665795894e-2f);
  p = multiply_add(p, r, 1.6666665459e-1f);
  p = multiply_add(p, r, 5.0000001201e-1f);
  p = multiply_add(p, r * r, r) + 1.f;
  int32_t bits;
  memcpy(&bits, &shifted, 4);
  const int32_t exponent = (int32_t)((uint32_t)bits - 0x4b400000u), half = exponent >> 1;
  const uint32_t low = (uint32_t)(half + 127) << 23, high = (uint32_t)(exponent - half + 127) << 23;
  float first, second;
  memcpy(&first, &low, 4);
  memcpy(&second, &high, 4);
  return p * first * second;
}
inline void exponentials(float* values, int count) {
  for (int i = 0; i < count; ++i) values[i] = exponential(values[i]);
}
inline void exponentials(double* values, int count) {
  for (int i = 0; i < count; ++i) values[i] = exp(values[i]);
}

inline double value_of(double v) { return v; }
template <class T> inline float value_of(T v) { return to_float(v); }

// The weighted sum of channel vectors, or of their differences from the target's own (`centred`), into `total`.
template <class T>
class Sum {
 public:
  using Term = typename TermOf<T>::type;
  bool met_no_match = false;  // by any target since the sum was made

  Sum(int channels_, bool exponents_) : channels(channels_), exponents(exponents_) {}

  // own: the target's own vector where sums are centred, or NULL.
  void begin(Term* to, const T* own_) {
    total = to, own = own_, count = 0;
    for (int c = 0; c < channels; ++c) total[c] = 0;
  }
  void operator()(Term weight, const T* vector) {
    weights[count] = weight;
    vectors[count] = vector;
    __builtin_prefetch(vector);
    if (++count == kMost) end();
  }
  void no_match() { met_no_match = true; }
  void end() {
    if (exponents) exponentials(weights, count);
    add(total);
    count = 0;
  }

 private:
  static constexpr int kMost = 256;

  const int channels;
  const bool exponents;
  Term* total;
  const T* own;
  int count = 0;
  Term weights[kMost];
  const T* vectors[kMost];

  void add(float*) {
    switch (channels) {
      case 16: return in_registers<16>();
      case 32: return in_registers<32>();
      case 64: return in_registers<64>();
      default: return in_memory();
    }
  }
  void add(double*) { in_memory(); }

  void in_memory() {
    const int n = channels;
    Term* __restrict sums = total;
    for (int i = 0; i < count; ++i) {
      const T *__restrict other = vectors[i], *__restrict centre = own;
      const Term weight = weights[i];
      if (centre)
        for (int c = 0; c < n; ++c) sums[c] = multiply_add(weight, (Term)value_of(other[c]) - (Term)value_of(centre[c]), sums[c]);
      else
        for (int c = 0; c < n; ++c) sums[c] = multiply_add(weight, (Term)value_of(other[c]), sums[c]);
    }
  }
  template <int kChannels>
  void in_registers() {
    constexpr int w = Vector::kWidth, parts = kChannels / w;
    Vector sums[parts], centre[parts];
    for (int j = 0; j < parts; ++j) {
      sums[j] = Vector::load(total + j * w);
      centre[j] = own ? Vector::load(own + j * w) : Vector::zero();
    }
    for (int i = 0; i < count; ++i) {
      const Vector weight = Vector::all((float)weights[i]);
      for (int j = 0; j < parts; ++j) sums[j].add_product(weight, Vector::load(vectors[i] + j * w) - centre[j]);
    }
    for (int j = 0; j < parts; ++j) sums[j].store(total + j * w);
  }
};

}  // namespace PSAL_ISA
}  // namespace psal
