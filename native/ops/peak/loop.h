// The loop over registers that the x86 files share. Single variables, not arrays: gcc would keep those in
// memory.
#pragma once

#include <immintrin.h>

#include "ops/lanes.h"
#include "ops/peak/params.h"

#if defined(__AVX512F__)
#define LOWBIT_SUMS(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11)
#define LOWBIT_REGISTER "v"
#else
#define LOWBIT_SUMS(F) F(0) F(1) F(2) F(3) F(4) F(5)
#define LOWBIT_REGISTER "x"
#endif

// The compiler must take `v` for changed, so that it neither moves nor drops what is done with it.
#define LOWBIT_OPAQUE(v) asm volatile("" : "+" LOWBIT_REGISTER(v));
#define LOWBIT_START(i) V sum##i = one, w##i = one;
#define LOWBIT_HIDE(i) LOWBIT_OPAQUE(w##i)
#define LOWBIT_STEP(i) sum##i = step(sum##i, x, w##i);
#define LOWBIT_KEEP(i) LOWBIT_OPAQUE(sum##i)
#define LOWBIT_COUNT(i) +1

namespace lowbit {

// sums[i] = step(sums[i], x, w[i]) for every i, rounds times; `operations` are those of one step.
template <class V, class Step>
LOWBIT_INLINE int64_t peak_loop(int64_t rounds, int64_t operations, V one, Step step) {
  V x = one;
  LOWBIT_SUMS(LOWBIT_START)
  LOWBIT_SUMS(LOWBIT_HIDE)
  for (int64_t r = 0; r < rounds; ++r) {
    LOWBIT_OPAQUE(x)
    LOWBIT_SUMS(LOWBIT_STEP)
    LOWBIT_SUMS(LOWBIT_KEEP)
  }
  return rounds * (LOWBIT_SUMS(LOWBIT_COUNT)) * operations;
}

}  // namespace lowbit
