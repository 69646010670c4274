// Sums of float activations times packed weight units, 16 output channels at a time. The order of the
// additions is part of the contract, so that every version gives the same floats:
//
//   sum = 0
//   for every tap, for every word of `per_word(bits)` channels of it:
//     part = unit0 * x0, then + unit1 * x1, ... (each product and each sum rounded to float32)
//     sum = sum + part
#pragma once

#include <cstdint>

#include "ops/dot8/params.h"

namespace lowbit {

// Codes in a 32-bit lane, the first in the lowest bits.
constexpr int per_word(int bits) { return 32 / bits; }

struct FloatsTile {
  const float* const* x;  // [taps][TILE_PIXELS]; zeros where the tap is padding
  int64_t offset;         // in floats
  int taps, inner;
  const uint32_t* w;    // [blocks][taps][words][16], words = inner / per_word rounded up
  int64_t block_words;  // from one block to the next
  int bits;             // 1, 2, 3, 4 or 8
  const float* table;   // [16] unit of every code, repeated; not for 8 bits
  bool affine;          // unit = slope * code + first; always for 8 bits
  int32_t slope, first;
  float* out;  // [pixels][stride], 16 * blocks of each row are written
  int64_t stride;
  int pixels;  // 1..TILE_PIXELS
  int blocks;  // 1..TILE_BLOCKS
};

using FloatsKernel = void (*)(const FloatsTile&);

}  // namespace lowbit
