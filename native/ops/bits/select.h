// Chooses the bit-plane kernel.
#pragma once

#include "ops/bits/params.h"
#include "ops/isa.h"

namespace lowbit {

void bits_1x16_portable(const BitTile&);
#if defined(__x86_64__)
void bits_4x16_avx2(const BitTile&);
void bits_8x16_avx512bw(const BitTile&);
void bits_8x16_avx512vpopcntdq(const BitTile&);
#elif defined(__aarch64__)
void bits_2x16_neon(const BitTile&);
#endif

struct BitChoice {
  BitKernel run;
  const char* tile;  // end of the kernel's name
};

inline BitChoice select_bits(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::amx:
    case Isa::avx512:
      return {bits_8x16_avx512vpopcntdq, "8x16_avx512vpopcntdq"};
    case Isa::avx512bw:
      return {bits_8x16_avx512bw, "8x16_avx512bw"};
    case Isa::avx2:
      return {bits_4x16_avx2, "4x16_avx2"};
    case Isa::scalar:
    case Isa::neon:
      break;
  }
#elif defined(__aarch64__)
  if (isa == Isa::neon) return {bits_2x16_neon, "2x16_neon"};
#endif
  (void)isa;
  return {bits_1x16_portable, "1x16_portable"};
}

}  // namespace lowbit
