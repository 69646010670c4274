// The layer that can do everything: any integer units, any terms, weights unpacked as they are used. Slow,
// and used only where no other kernel holds the operands or fits the memory that loading may take.
#pragma once

#include <cstdint>

#include "ops/dot8/params.h"

namespace lowbit {

struct DirectTile {
  const uint8_t* const* x;  // [taps][TILE_PIXELS] codes, null where the tap is padding
  int64_t offset;
  int taps, inner;
  const uint8_t* w;        // [lanes][inner][taps] codes, in file order
  int lanes;               // output channels here, 1 to 16
  const int32_t* x_units;  // [x_terms][x_codes]
  const int32_t* w_units;  // [w_terms][w_codes], null for a codebook: term i is 1 where the code is i
  int x_terms, x_codes, w_terms, w_codes;
  bool ones;     // one more weight term, 1 everywhere (a real offset)
  int32_t* out;  // [(w_terms + ones) * x_terms][term_stride], each [pixels][stride]
  int64_t term_stride, stride;
  int pixels;
};

void direct_i32_1x1_portable(const DirectTile&);

struct FloatTile {
  const float* const* x;  // [taps][TILE_PIXELS], null where the tap is padding
  int64_t offset;         // in floats
  int taps, inner;
  const float* w;  // [lanes][taps][inner]
  int lanes;
  float* out;  // [pixels][stride]
  int64_t stride;
  int pixels;
};

void float_direct_1x1_portable(const FloatTile&);

}  // namespace lowbit
