// Chooses the depthwise kernel. The versions are one source of 16-lane vectors, compiled for each instruction
// set.
#pragma once

#include "ops/depthwise/params.h"
#include "ops/isa.h"

namespace lowbit {

void depthwise_u8s16_1x16_portable(const DepthwiseTile&);
void depthwise_u8s16_1x16_avx2(const DepthwiseTile&);
void depthwise_u8s16_1x16_avx512bw(const DepthwiseTile&);

struct DepthwiseChoice {
  DepthwiseKernel run;
  const char* name;
};

inline DepthwiseChoice select_depthwise(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512bw) return {depthwise_u8s16_1x16_avx512bw, "depthwise_u8s16_1x16_avx512bw"};
  if (isa == Isa::avx2) return {depthwise_u8s16_1x16_avx2, "depthwise_u8s16_1x16_avx2"};
#endif
  (void)isa;
  return {depthwise_u8s16_1x16_portable, "depthwise_u8s16_1x16_portable"};
}

}  // namespace lowbit
