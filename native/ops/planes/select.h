// Chooses the plane splitter; 16 bytes at a time, so AVX-512 has nothing to add to the AVX2 version.
#pragma once

#include "ops/isa.h"
#include "ops/planes/params.h"

namespace lowbit {

void planes_1x32_portable(const PlaneSplit&);
void planes_1x32_avx2(const PlaneSplit&);

inline PlaneKernel select_planes(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx2) return planes_1x32_avx2;
#endif
  (void)isa;
  return planes_1x32_portable;
}

}  // namespace lowbit
