// Chooses the epilogue: one source of 16-lane vectors, compiled for each instruction set.
#pragma once

#include "ops/epilogue/params.h"
#include "ops/isa.h"

namespace lowbit {

void epilogue_4x16_portable(const EpilogueTile&);
void epilogue_4x16_avx2(const EpilogueTile&);
void epilogue_4x16_avx512bw(const EpilogueTile&);

inline EpilogueKernel select_epilogue(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512bw) return epilogue_4x16_avx512bw;
  if (isa == Isa::avx2) return epilogue_4x16_avx2;
#endif
  (void)isa;
  return epilogue_4x16_portable;
}

}  // namespace lowbit
