#include <immintrin.h>

#include "ops/peak/select.h"
#include "ops/tile8/select.h"

namespace lowbit {

int64_t peak_tiles_avx512amx(int64_t rounds) {
  tile8_open_avx512amx(16);
  _tile_zero(6);
  _tile_zero(7);
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
