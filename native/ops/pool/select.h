// Chooses the pools: one source of 16-lane vectors, compiled for each instruction set.
#pragma once

#include "ops/isa.h"
#include "ops/pool/params.h"

namespace lowbit {

extern const PoolKernels pool_1x16_portable;
extern const PoolKernels pool_1x16_avx2;
extern const PoolKernels pool_1x16_avx512bw;

inline const PoolKernels& select_pool(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512bw) return pool_1x16_avx512bw;
  if (isa == Isa::avx2) return pool_1x16_avx2;
#endif
  (void)isa;
  return pool_1x16_portable;
}

}  // namespace lowbit
