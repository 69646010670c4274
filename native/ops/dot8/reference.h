// out[p][b * 16 + lane] = sum over taps and channels of x * w, in wrapping 32-bit arithmetic: the sum that
// `infer` bounds may pass through values outside int32 (activations are shifted to start at 0), but ends
// inside it.
#pragma once

#include "ops/dot8/params.h"
#include "ops/lanes.h"

namespace lowbit {

LOWBIT_INLINE void dot8_reference(const DotTile& t) {
  for (int p = 0; p < t.pixels; ++p) {
    for (int b = 0; b < t.blocks; ++b) {
      uint32_t acc[LANES] = {};
      const int8_t* w = t.w + b * t.block_bytes;
      for (int tap = 0; tap < t.taps; ++tap) {
        const uint8_t* x = t.x[tap * TILE_PIXELS + p] + t.offset;
        for (int k = 0; k < t.words; ++k, w += 4 * LANES) {
          for (int lane = 0; lane < LANES; ++lane) {
            int32_t sum = 0;
            for (int i = 0; i < 4; ++i) sum += x[4 * k + i] * w[4 * lane + i];
            acc[lane] += static_cast<uint32_t>(sum);
          }
        }
      }
      for (int lane = 0; lane < LANES; ++lane) {
        t.out[p * t.stride + b * LANES + lane] = static_cast<int32_t>(acc[lane]);
      }
    }
  }
}

}  // namespace lowbit
