// Sums of products on bit planes: popcounts, 16 output channels at a time, 32 input channels in one lane.
#pragma once

#include <cstdint>

#include "ops/dot8/params.h"

namespace lowbit {

// How the weight planes enter. Activations are planes of `code - low`, so their pad value is 0 in every
// plane.
//   and_   planes of the unit in two's complement:     pop(w & x)
//   xor_   a sum of signs, plane = 1 where negative:   pop(w ^ x) = #negative + sum of sign * x
//   mask   ternary, planes mask and negative:          pop(m & (n ^ x)) = #negative + sum of unit * x
// The constant #negative counts every tap, valid or padded, since a padded x is 0; the layer subtracts it at
// the end.
enum class Coding : int { and_ = 0, xor_ = 1, mask = 2 };

struct BitTile {
  const uint8_t* const* x;  // [taps][TILE_PIXELS] pointers to uint32 [words][x_planes] of one input pixel
  int64_t offset;           // bytes added to every pointer: the words of one group
  int taps;
  int words;                // 32-channel words of one tap
  int x_planes;             // plane j counts 2^j
  const uint32_t* w;        // [blocks][taps][words][w_planes][16]
  int64_t block_words;      // taps * words * w_planes * 16
  int w_planes;             // mask: always 2
  const int32_t* w_weight;  // [w_planes] what plane i counts (mask: only [0])
  Coding coding;
  int32_t* out;    // [pixels][stride]
  int64_t stride;  // in int32
  int pixels;      // 1..TILE_PIXELS
  int blocks;      // 1..TILE_BLOCKS
};

using BitKernel = void (*)(const BitTile&);

}  // namespace lowbit
