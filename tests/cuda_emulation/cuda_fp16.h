// float16 of the emulation: a number that can only be stored and converted, as ext/cuda uses it.
#pragma once
#include <stdint.h>
#include <string.h>

struct __half {
  uint16_t bits;
};

inline float __half2float(__half v) {
  const uint32_t magnitude = v.bits & 0x7fff;
  uint32_t bits = magnitude << 13;
  float out;
  memcpy(&out, &bits, sizeof out);
  out *= 0x1p112f;  // exact, subnormal numbers included
  memcpy(&bits, &out, sizeof bits);
  if (magnitude >= 0x7c00) bits = 0x7f800000 | (magnitude & 0x3ff) << 13;
  bits |= (uint32_t)(v.bits & 0x8000) << 16;
  memcpy(&out, &bits, sizeof out);
  return out;
}
inline __half __float2half_rn(float v) {
  const _Float16 number = (_Float16)v;
  __half out;
  memcpy(&out.bits, &number, sizeof number);
  return out;
}
