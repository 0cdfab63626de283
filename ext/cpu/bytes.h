// Sums over the 16 bytes of sketches. By hand: compilers see loops over a few bytes, and take them apart.
#pragma once
#include <stdint.h>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace psal {
namespace PSAL_ISA {

// The sum of the squared differences of 16 bytes each.
inline int squared_distance(const uint8_t* a, const uint8_t* b) {
#if defined(__SSE2__)
  const __m128i x = _mm_loadu_si128((const __m128i*)a), y = _mm_loadu_si128((const __m128i*)b), zero = _mm_setzero_si128();
  const __m128i apart = _mm_or_si128(_mm_subs_epu8(x, y), _mm_subs_epu8(y, x));
  const __m128i low = _mm_unpacklo_epi8(apart, zero), high = _mm_unpackhi_epi8(apart, zero);
  __m128i sum = _mm_add_epi32(_mm_madd_epi16(low, low), _mm_madd_epi16(high, high));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
#elif defined(__ARM_NEON)
  const uint8x16_t apart = vabdq_u8(vld1q_u8(a), vld1q_u8(b));
  const uint16x8_t low = vmull_u8(vget_low_u8(apart), vget_low_u8(apart)), high = vmull_high_u8(apart, apart);
  return (int)vaddvq_u32(vaddq_u32(vpaddlq_u16(low), vpaddlq_u16(high)));
#else
  int total = 0;
  for (int i = 0; i < 16; ++i) total += ((int)a[i] - b[i]) * ((int)a[i] - b[i]);
  return total;
#endif
}

// The sum of 16 bytes times as many weights.
inline int weighted_sum(const uint8_t* a, const int16_t* weights) {
#if defined(__SSE2__)
  const __m128i x = _mm_loadu_si128((const __m128i*)a), zero = _mm_setzero_si128();
  const __m128i low = _mm_madd_epi16(_mm_unpacklo_epi8(x, zero), _mm_loadu_si128((const __m128i*)weights));
  const __m128i high = _mm_madd_epi16(_mm_unpackhi_epi8(x, zero), _mm_loadu_si128((const __m128i*)(weights + 8)));
  __m128i sum = _mm_add_epi32(low, high);
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
#else
  int total = 0;
  for (int i = 0; i < 16; ++i) total += (int)a[i] * weights[i];
  return total;
#endif
}

}  // namespace PSAL_ISA
}  // namespace psal
