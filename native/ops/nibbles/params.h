// Sums of products of few-bit operands through byte shuffles: half a byte of weights looks up what it makes
// with half a byte of activations, for 16 output channels at once.
#pragma once

#include <cstdint>

#include "ops/dot8/params.h"

namespace lowbit {

// out[p][lane] = sum over taps and bytes of
//   tables[x][w of lane & 15] + tables[x][16 + (w of lane + 16 & 15)]      x: that byte of pixel p
// A byte holds 8 activations of one bit or 4 of two, the halves of a row of tables belong to its halves.
struct NibbleTile {
  const uint8_t* const* x;  // [taps][TILE_PIXELS] pointers to the bytes of one input pixel
  int64_t offset;           // bytes added to every pointer: those of one group
  int taps;
  int bytes;              // of one tap
  const uint8_t* tables;  // [256][32], at a multiple of 32 bytes
  const uint8_t* w;       // [blocks][taps][bytes][32]: low halves of 16 channels, then their high halves
  int64_t block_bytes;    // taps * bytes * 32
  int most;               // so many entries of tables always fit a byte when they are added; at least 1
  int32_t* out;           // [pixels][stride]
  int64_t stride;         // in int32
  int pixels;             // 1..TILE_PIXELS
  int blocks;             // 1..TILE_BLOCKS
};

using NibbleKernel = void (*)(const NibbleTile&);

// Four codes of two bits a byte, the first in its lowest bits: to[i] = from[4 i] | from[4 i + 1] << 2 | ..;
// codes beyond `count` are 0.
using PackPairs = void (*)(const uint8_t* from, int64_t count, uint8_t* to);

}  // namespace lowbit
