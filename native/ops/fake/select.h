// The kernels of this processor.
#pragma once

#include "ops/fake/params.h"

namespace lowbit::fake {

inline Kernels select(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512bw) return kernels_avx512();
  if (isa >= Isa::avx2) return kernels_avx2();
#endif
  (void)isa;
  return kernels_portable();
}

}  // namespace lowbit::fake
