#include <immintrin.h>

#include "ops/peak/select.h"
#include "ops/tile8/select.h"

namespace lowbit {

int64_t peak_tiles_avx512amx(int64_t rounds) {
  // Products of zeros take less power, and run a fifth faster than those of any network.
  alignas(64) uint8_t operands[2048];
  uint32_t state = 1;
  for (uint8_t& operand : operands)
    operand = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  asm volatile("" ::"r"(operands) : "memory");  // tile loads do not say that they read memory
  tile8_open_avx512amx(16);
  _tile_loadd(6, operands, 64);
  _tile_loadd(7, operands + 1024, 64);
  for (int64_t r = 0; r < rounds; ++r) {
    _tile_dpbusd(0, 6, 7);
    _tile_dpbusd(1, 6, 7);
    _tile_dpbusd(2, 6, 7);
    _tile_dpbusd(3, 6, 7);
    _tile_dpbusd(4, 6, 7);
    _tile_dpbusd(5, 6, 7);
  }
  tile8_close_avx512amx();
  return rounds * 6 * 2 * 16 * 16 * 64;
}

}  // namespace lowbit
