// Instruction set levels that a kernel can be asked for. Every level runs everything; a kernel without a
// version for a level takes the next lower one.
#pragma once

namespace lowbit {

// avx512bw: AVX-512 F, BW, VL, DQ. avx512: those and VNNI, VBMI, BITALG, VPOPCNTDQ. amx: those and AMX-INT8.
// neon: Advanced SIMD of any 64-bit Arm processor.
enum class Isa : int { scalar = 0, avx2 = 1, avx512bw = 2, avx512 = 3, amx = 4, neon = 5 };

}  // namespace lowbit
