#pragma once

#include "ops/lanes.h"
#include "ops/nibbles/params.h"

namespace lowbit {

inline void nibbles_reference(const NibbleTile& t) {
  for (int p = 0; p < t.pixels; ++p) {
    for (int b = 0; b < t.blocks; ++b) {
      for (int lane = 0; lane < LANES; ++lane) {
        uint32_t sum = 0;
        for (int tap = 0; tap < t.taps; ++tap) {
          for (int k = 0; k < t.bytes; ++k) {
            const uint8_t* table = t.tables + 32 * t.x[tap * TILE_PIXELS + p][t.offset + k];
            const uint8_t* w = t.w + b * t.block_bytes + (int64_t(tap) * t.bytes + k) * 32 + lane;
            sum += table[w[0] & 15] + table[16 + (w[16] & 15)];
          }
        }
        t.out[p * t.stride + b * LANES + lane] = static_cast<int32_t>(sum);
      }
    }
  }
}

inline void pack_pairs_reference(const uint8_t* from, int64_t count, uint8_t* to) {
  for (int64_t i = 0; 4 * i < count; ++i) {
    uint8_t byte = 0;
    for (int64_t j = 4 * i; j < count && j < 4 * i + 4; ++j)
      byte = static_cast<uint8_t>(byte | from[j] << 2 * (j - 4 * i));
    to[i] = byte;
  }
}

}  // namespace lowbit
