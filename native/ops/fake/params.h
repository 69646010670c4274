// Quantizing while training, one pass over memory each way. x, y, g, dx: [count] float32, contiguous.
//
//   uniform_forward  y = s * clamp(rint(x / s), low, high)
//   half_wave_forward  y = x <= 0 ? 0 : s * clamp(rint(x / s), 1, high), NaN stays NaN
//   sign_forward     y = x >= 0 ? 1 : -1, NaN stays NaN
//   lsq_backward     v = x / s; inside = low < v < high; dx = inside ? g : 0;
//                    sums[0] += g * clamp(rint(v), low, high), sums[1] += inside ? g * x : 0
//   clip_backward    dx = (low <= x <= high) ? g : 0; sums[0] += g above high, sums[1] += g below low
//
// Sums are float64 over float32 products, by sixteen lanes that are added in order at the end of every block
// of kBlock elements: the result does not depend on the instruction set or the number of threads.
#pragma once

#include <cstdint>

#include "ops/isa.h"

namespace lowbit::fake {

constexpr int64_t kBlock = 1 << 14;

struct Kernels {
  void (*uniform_forward)(const float* x, float* y, int64_t count, float s, float low, float high);
  void (*half_wave_forward)(const float* x, float* y, int64_t count, float s, float high);
  void (*sign_forward)(const float* x, float* y, int64_t count);
  // One block of at most kBlock elements; sums[2] is overwritten.
  void (*lsq_backward)(const float* g, const float* x, float* dx, int64_t count, float s, float low,
                       float high, double* sums);
  void (*clip_backward)(const float* g, const float* x, float* dx, int64_t count, float low, float high,
                        double* sums);
};

Kernels kernels_portable();
Kernels kernels_avx2();
Kernels kernels_avx512();

}  // namespace lowbit::fake
