// Chooses the matrix tile kernel. Without a matrix unit dot8 is the better kernel: the portable version is
// for tests.
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
#endif

struct TileChoice {
  TileKernel kernel;
  const char* name;
};

inline TileChoice select_tile8(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::amx)
    return {{tile8_open_avx512amx, tile8_u8s8_96x16_avx512amx, tile8_close_avx512amx},
            "tile8_u8s8_96x16_avx512amx"};
#endif
  (void)isa;
  return {{tile8_open_portable, tile8_u8s8_96x16_portable, tile8_close_portable},
          "tile8_u8s8_96x16_portable"};
}

}  // namespace lowbit
