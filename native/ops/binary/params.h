// One-bit products and their sums. With a threshold of each channel sums never leave the registers, and what
// is stored is the plane that the next layer reads.
#pragma once

#include <cstdint>

#include "ops/bits/params.h"

namespace lowbit {

constexpr int BINARY_PIXELS = 64;  // of a tile, whose weights stay in the first-level cache

struct BinaryTile {
  const uint8_t* const* x;  // [pixels] pointers to uint32 [words] of the first tap
  int64_t down;             // bytes from one tap to the next
  int taps;
  int words;            // 32-channel words of one tap
  const uint32_t* w;    // [blocks][taps][words][1, mask: 2][16]
  int64_t block_words;  // taps * words * (1, mask: 2) * 16
  Coding coding;
  int32_t* sums;   // [pixels][stride] popcounts; or null, and bits are stored instead
  int64_t stride;  // in int32
  // Bit of a channel: (popcount >= limit) ^ falls; of a lane without a channel it must come out 0.
  const int32_t* limits;  // lane c of block b at 16 b + c
  const int32_t* at;      // [pixels] where a pixel's limits begin, null: all at 0
  const uint32_t* falls;  // [pairs of blocks]
  uint8_t* planes;        // [pixels] uint32 [pairs of blocks], out_bytes apart
  int64_t out_bytes;
  int pixels;  // 1..BINARY_PIXELS
  int blocks;  // the first of them is even
};

using BinaryKernel = void (*)(const BinaryTile&);

}  // namespace lowbit
