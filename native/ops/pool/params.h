// Pooling of one output pixel, all channels: maximum, or sum in the order that the reference defines.
#pragma once

#include <cstdint>

namespace lowbit {

struct PoolWindow {
  const void* x;                // float or uint8 [height][width][channels]
  int64_t width, channels;      // of the input
  int64_t row, rows, row_step;  // input rows row, row + row_step, ... below row + rows * row_step
  int64_t column, columns, column_step;
  float count;  // divisor of averages
  // averages of codes: y = float(sum over the window of unit) * scale per term, added in order
  const int32_t* units;  // [terms][codes]
  const float* scales;   // [terms]
  int terms, codes;
  bool affine;  // one term, unit = first + slope * code
  int32_t slope, first;
};

// Writes float bits or int32 codes: out [channels], writable up to the next multiple of 16.
using PoolKernel = void (*)(const PoolWindow&, int32_t* out);

struct PoolKernels {
  PoolKernel max_floats, max_codes, mean_floats, mean_codes;
};

}  // namespace lowbit
