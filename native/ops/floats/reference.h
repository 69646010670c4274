// The definition, one output after another.
#pragma once

#include <algorithm>

#include "ops/floats/params.h"
#include "ops/lanes.h"

namespace lowbit {

LOWBIT_INLINE void floats_reference(const FloatsTile& t) {
  const int per = per_word(t.bits), words = (t.inner + per - 1) / per;
  for (int p = 0; p < t.pixels; ++p) {
    for (int lane = 0; lane < t.blocks * LANES; ++lane) {
      const uint32_t* w = t.w + lane / LANES * t.block_words + lane % LANES;
      float sum = 0;
      for (int tap = 0; tap < t.taps; ++tap) {
        const float* x = t.x[tap * TILE_PIXELS + p] + t.offset;
        for (int word = 0; word < words; ++word, w += LANES) {
          float part = 0;
          const int count = std::min(per, t.inner - word * per);
          for (int j = 0; j < count; ++j) {
            const auto code = static_cast<int32_t>(*w >> (j * t.bits) & ((1u << t.bits) - 1));
            const float unit = t.bits == 8 ? static_cast<float>(t.slope * code + t.first) : t.table[code];
            const float product = unit * x[word * per + j];
            part = j ? part + product : product;
          }
          sum = sum + part;
        }
      }
      t.out[p * t.stride + lane] = sum;
    }
  }
}

}  // namespace lowbit
