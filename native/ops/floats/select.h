// Chooses the kernel of float activations: one source, compiled for each instruction set.
#pragma once

#include "ops/floats/params.h"
#include "ops/isa.h"

namespace lowbit {

void floats_f32_portable(const FloatsTile&);
#if defined(__x86_64__)
void floats_f32_avx2(const FloatsTile&);
void floats_f32_avx512bw(const FloatsTile&);
#endif

struct FloatsChoice {
  FloatsKernel run;
  const char* tile;  // end of the kernel's name, after the bits
};

inline FloatsChoice select_floats(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512bw) return {floats_f32_avx512bw, "1x64_avx512bw"};
  if (isa == Isa::avx2) return {floats_f32_avx2, "1x32_avx2"};
#endif
  (void)isa;
  return {floats_f32_portable, "1x32_portable"};
}

}  // namespace lowbit
