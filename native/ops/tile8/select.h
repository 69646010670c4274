// Chooses the kernel of packed weights. Below VNNI dot8 is the better one: the portable version is for tests.
#pragma once

#include "ops/isa.h"
#include "ops/tile8/params.h"

namespace lowbit {

void tile8_open_portable(int);
void tile8_u8s8_96x16_portable(const TileJob&);
void tile8_close_portable();
#if defined(__x86_64__)
void tile8_open_avx512amx(int);
void tile8_u8s8_96x16_avx512amx(const TileJob&);
void tile8_close_avx512amx();
void tile8_u8s8_4x16_avx512vnni(const TileJob&);
#endif

struct TileChoice {
  TileKernel kernel;
  const char* name;
};

// rows: of every tile.
inline TileChoice select_tile8(Isa isa, int rows) {
#if defined(__x86_64__)
  if (isa == Isa::avx512 || (isa == Isa::amx && rows < 4))
    return {{tile8_open_portable, tile8_u8s8_4x16_avx512vnni, tile8_close_portable, false},
            "tile8_u8s8_4x16_avx512vnni"};
  if (isa == Isa::amx)
    return {{tile8_open_avx512amx, tile8_u8s8_96x16_avx512amx, tile8_close_avx512amx, true},
            "tile8_u8s8_96x16_avx512amx"};
#endif
  (void)isa, (void)rows;
  return {{tile8_open_portable, tile8_u8s8_96x16_portable, tile8_close_portable, false},
          "tile8_u8s8_96x16_portable"};
}

}  // namespace lowbit
