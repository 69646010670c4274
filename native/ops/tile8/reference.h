// out[tile][row][b * 16 + lane] = sum over steps and their bytes of x * operand, in wrapping 32-bit
// arithmetic.
#pragma once

#include "ops/lanes.h"
#include "ops/tile8/params.h"

namespace lowbit {

LOWBIT_INLINE void tile8_reference(const TileJob& t) {
  const uint8_t mask = static_cast<uint8_t>((1 << t.bits) - 1);
  for (int tile = 0; tile < t.tiles; ++tile) {
    for (int row = 0; row < t.rows; ++row) {
      for (int b = 0; b < t.blocks; ++b) {
        uint32_t acc[LANES] = {};
        const uint8_t* w = t.w + int64_t(b) * t.count * tile_bytes(t.bits);
        for (int step = 0; step < t.count; ++step, w += tile_bytes(t.bits)) {
          const uint8_t* x = t.x[tile] + row * t.row_bytes + t.steps[step];
          for (int i = 0; i < STEP_BYTES; ++i) {
            for (int lane = 0; lane < LANES; ++lane) {
              const CodeAt at = code_at(t.bits, i / 4, 4 * lane + i % 4);
              const uint8_t code = static_cast<uint8_t>(w[at.byte] >> at.shift & mask);
              const int32_t operand = t.bits == 8 ? static_cast<int8_t>(code) : t.table[code];
              acc[lane] += static_cast<uint32_t>(x[i] * operand);
            }
          }
        }
        for (int lane = 0; lane < LANES; ++lane)
          t.out[(tile * t.rows + row) * t.stride + b * LANES + lane] = static_cast<int32_t>(acc[lane]);
      }
    }
  }
}

}  // namespace lowbit
