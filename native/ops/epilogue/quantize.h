// A float to a code: sixteen, or one by the same rounded operations.
#pragma once

#include "ops/epilogue/params.h"
#include "ops/lanes.h"

namespace lowbit {

// rint, ties to even, for |v| <= 2^20: adding 1.5 * 2^23 leaves no room for fraction bits, so the addition
// itself rounds.
LOWBIT_INLINE F16 round_even(F16 v) {
  const float magic = 12582912.0f;
  return (v + magic) - magic;
}

// clip(rint(v / p0 - p1) + p2, p3, p4) - p3. The quotient is cut to +-2^20 first: codes and zeros are below
// 2^17, so what is cut ends in the same code. NaN becomes the lowest code.
LOWBIT_INLINE I16 quantize_lanes(F16 v, const Stage& s) {
  const F16 far = splat(1048576.0f), low = splat(s.p3), high = splat(s.p4);
  F16 q = v / s.p0;
  if (s.p1 != 0) q = q - s.p1;
  q = select(q > -far, q, -far);
  q = select(q < far, q, far);
  F16 code = round_even(q) + s.p2;
  code = select(code > low, code, low);
  code = select(code < high, code, high);
  return to_int(code - low);
}

LOWBIT_INLINE int32_t quantize_one(float v, const Stage& s) {
  const float far = 1048576.0f, magic = 12582912.0f;
  float q = v / s.p0;
  if (s.p1 != 0) q = q - s.p1;
  q = q > -far ? q : -far;
  q = q < far ? q : far;
  float code = ((q + magic) - magic) + s.p2;
  code = code > s.p3 ? code : s.p3;
  code = code < s.p4 ? code : s.p4;
  return static_cast<int32_t>(code - s.p3);
}

}  // namespace lowbit
