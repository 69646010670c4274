// out[p][c] = sum over taps of x[c / multiplier] * w[tap][c].
#pragma once

#include "ops/depthwise/params.h"
#include "ops/lanes.h"

namespace lowbit {

LOWBIT_INLINE void depthwise_lanes(const DepthwiseTile& t) {
  for (int b = 0; b < t.blocks; ++b) {
    const int c = t.channel + b * LANES;
    for (int p = 0; p < t.pixels; ++p) {
      U16 acc = {};
      for (int tap = 0; tap < t.taps; ++tap) {
        const uint8_t* x = t.x[tap * TILE_PIXELS + p];
        B16 codes = {};
        if (t.multiplier == 1) {
          codes = load<B16>(x + c);
        } else {
          for (int i = 0; i < LANES; ++i) codes[i] = x[smaller((c + i) / t.multiplier, t.last)];
        }
        // acc[c] += x[c] * w[tap][c];
        const I16 xs = widen(codes);
        const I16 ws = widen(load<H16>(t.w + tap * t.w_stride + c));
        acc += (U16)xs * (U16)ws;
      }
      store(t.out + p * t.stride + b * LANES, acc);
    }
  }
}

}  // namespace lowbit
