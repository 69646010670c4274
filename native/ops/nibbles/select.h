// Chooses the kernel on halves of bytes; where there is none, bit planes and dot products are used.
#pragma once

#include "ops/isa.h"
#include "ops/nibbles/params.h"

namespace lowbit {

void nibbles_1x1_portable(const NibbleTile&);
void pack_pairs_portable(const uint8_t* from, int64_t count, uint8_t* to);
#if defined(__x86_64__)
void nibbles_4x32_avx2(const NibbleTile&);
void nibbles_4x64_avx512bw(const NibbleTile&);
void pack_pairs_avx2(const uint8_t* from, int64_t count, uint8_t* to);
#endif

struct NibbleChoice {
  NibbleKernel run;
  PackPairs pack;
  const char* tile;  // end of the kernel's name
};

inline NibbleChoice select_nibbles(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::amx:
    case Isa::avx512:
    case Isa::avx512bw:
      return {nibbles_4x64_avx512bw, pack_pairs_avx2, "4x64_avx512bw"};
    case Isa::avx2:
      return {nibbles_4x32_avx2, pack_pairs_avx2, "4x32_avx2"};
    case Isa::scalar:
    case Isa::neon:
      break;
  }
#endif
  (void)isa;
  return {nibbles_1x1_portable, pack_pairs_portable, "1x1_portable"};
}

}  // namespace lowbit
