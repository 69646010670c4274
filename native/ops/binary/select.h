// Chooses the kernel of one plane by one; null where that of any planes serves instead.
#pragma once

#include "ops/binary/params.h"
#include "ops/isa.h"

namespace lowbit {

#if defined(__x86_64__)
void binary_8x32_avx512vpopcntdq(const BinaryTile&);
#endif

struct BinaryChoice {
  BinaryKernel run;
  const char* tile;  // end of the kernel's name
};

inline BinaryChoice select_binary(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512 || isa == Isa::amx) return {binary_8x32_avx512vpopcntdq, "8x32_avx512vpopcntdq"};
#endif
  (void)isa;
  return {nullptr, ""};
}

}  // namespace lowbit
