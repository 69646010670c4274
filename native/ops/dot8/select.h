// Chooses the dot product kernel.
#pragma once

#include "ops/dot8/params.h"
#include "ops/isa.h"

namespace lowbit {

void dot8_u8s8_16x64_portable(const DotTile&);
#if defined(__x86_64__)
void dot8_u8s8_2x16_avx2(const DotTile&);
void dot8_u8s8_8x16_avx512bw(const DotTile&);
void dot8_u8s8_6x64_avx512vnni(const DotTile&);
#elif defined(__aarch64__)
void dot8_u8s8_1x16_neon(const DotTile&);
#endif

struct DotChoice {
  DotKernel run;
  const char* name;
};

inline DotChoice select_dot8(Isa isa, bool pairs_fit) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::amx:
    case Isa::avx512:
      return {dot8_u8s8_6x64_avx512vnni, "dot8_u8s8_6x64_avx512vnni"};
    case Isa::avx512bw:
      return {dot8_u8s8_8x16_avx512bw, pairs_fit ? "dot8_u8s8_8x16_avx512bw" : "dot8_u8s8wide_8x16_avx512bw"};
    case Isa::avx2:
      return {dot8_u8s8_2x16_avx2, pairs_fit ? "dot8_u8s8_2x16_avx2" : "dot8_u8s8wide_2x16_avx2"};
    case Isa::scalar:
    case Isa::neon:
      break;
  }
#elif defined(__aarch64__)
  if (isa == Isa::neon) return {dot8_u8s8_1x16_neon, "dot8_u8s8_1x16_neon"};
#endif
  (void)isa, (void)pairs_fit;
  return {dot8_u8s8_16x64_portable, "dot8_u8s8_16x64_portable"};
}

}  // namespace lowbit
