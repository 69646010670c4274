// out = sum over planes i, j of w_weight[i] * 2^j * popcount(combine(w_i, x_j)).
//
// Every version walks the planes in cells of NW x NX (at most 2 x 2) that share one pass over taps and words,
// and adds the cells up; `Cell` gives the popcounts of one cell. This file holds the walk and the scalar
// cell.
#pragma once

#include "ops/bits/params.h"
#include "ops/lanes.h"

namespace lowbit {

struct BitCell {
  int p, b;    // first pixel, block
  int wi, xj;  // first weight plane and activation plane
  bool first;  // store instead of add
};

LOWBIT_INLINE uint32_t cell_weight(const BitTile& t, int wi, int xj) {
  return static_cast<uint32_t>(t.w_weight[wi]) << xj;
}

// The words that cell (wi, xj) of pixel p starts at.
LOWBIT_INLINE const uint8_t* cell_x(const BitTile& t, int tap, int p) {
  return t.x[tap * TILE_PIXELS + p] + t.offset;
}

LOWBIT_INLINE uint32_t word_at(const uint8_t* x, int64_t index) {
  uint32_t v;
  __builtin_memcpy(&v, x + 4 * index, 4);
  return v;
}

LOWBIT_INLINE void bits_reference(const BitTile& t) {
  const int planes = t.coding == Coding::mask ? 1 : t.w_planes;
  for (int p = 0; p < t.pixels; ++p) {
    for (int b = 0; b < t.blocks; ++b) {
      for (int lane = 0; lane < LANES; ++lane) {
        uint32_t sum = 0;
        for (int tap = 0; tap < t.taps; ++tap) {
          for (int k = 0; k < t.words; ++k) {
            const uint32_t* w =
                t.w + b * t.block_words + int64_t(tap * int64_t(t.words) + k) * t.w_planes * LANES + lane;
            for (int i = 0; i < planes; ++i) {
              for (int j = 0; j < t.x_planes; ++j) {
                const uint32_t x = word_at(cell_x(t, tap, p), int64_t(k) * t.x_planes + j);
                const uint32_t both = t.coding == Coding::and_   ? (w[i * LANES] & x)
                                      : t.coding == Coding::xor_ ? (w[i * LANES] ^ x)
                                                                 : (w[0] & (w[LANES] ^ x));
                sum += cell_weight(t, i, j) * static_cast<uint32_t>(__builtin_popcount(both));
              }
            }
          }
        }
        t.out[p * t.stride + b * LANES + lane] = static_cast<int32_t>(sum);
      }
    }
  }
}

}  // namespace lowbit
