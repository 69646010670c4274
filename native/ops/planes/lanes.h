// out[p][g][k][j] bit i = bit j of table[codes[p][g * group + 32 * k + i]].
#pragma once

#include "ops/lanes.h"
#include "ops/planes/params.h"

namespace lowbit {
namespace {

LOWBIT_INLINE B16 codes_at(const PlaneSplit& s, const uint8_t* x, int lanes) {
  B16 v = {};
  if (lanes <= 0) return v;
  if (lanes >= LANES && !s.table) return load<B16>(x);
  for (int i = 0; i < smaller(lanes, LANES); ++i) v[i] = s.table ? s.table[x[i]] : x[i];
  return v;
}

LOWBIT_INLINE void split_lanes(const PlaneSplit& s) {
  const int64_t groups = s.channels / s.group;
  for (int64_t p = s.pixel; p < s.pixel + s.pixels; ++p) {
    const uint8_t* x = s.codes + p * s.channels;
    if (s.planes == 0) {
      for (int64_t c = 0; c < s.channels; ++c) s.out[p * s.channels + c] = s.table[x[c]];
      continue;
    }
    uint8_t* word = s.out + 4 * p * groups * s.words * s.planes;
    for (int64_t g = 0; g < groups; ++g, x += s.group) {
      for (int k = 0; k < s.words; ++k) {
        const B16 low = codes_at(s, x + 32 * k, s.group - 32 * k);
        const B16 high = codes_at(s, x + 32 * k + LANES, s.group - 32 * k - LANES);
        for (int j = 0; j < s.planes; ++j, word += 4) {
          const uint32_t bits = plane16(low, j) | static_cast<uint32_t>(plane16(high, j)) << 16;
          __builtin_memcpy(word, &bits, 4);
        }
      }
    }
  }
}

}  // namespace
}  // namespace lowbit
