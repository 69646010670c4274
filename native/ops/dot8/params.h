// Dot products of unsigned 8-bit activations with signed 8-bit weights, 16 output channels at a time.
#pragma once

#include <cstdint>

namespace lowbit {

constexpr int TILE_PIXELS = 16;  // output pixels of one tile: a cache line of floats of an image
constexpr int TILE_BLOCKS = 4;   // blocks of 16 output channels of one tile

struct DotTile {
  const uint8_t* const* x;  // [taps][TILE_PIXELS] pointers to the channels of one input pixel
  int64_t offset;           // bytes added to every pointer: the channels of one group
  int taps;
  int words;            // groups of 4 channels of one tap; weights are zero beyond the last channel
  const int8_t* w;      // [blocks][taps][words][16][4]
  int64_t block_bytes;  // taps * words * 64
  int32_t* out;         // [pixels][stride]
  int64_t stride;       // in int32
  int pixels;           // 1..TILE_PIXELS
  int blocks;           // 1..TILE_BLOCKS
  bool pairs_fit;       // 2 * max|x| * max|w| <= 32767: two products fit an int16, vpmaddubsw cannot saturate
};

using DotKernel = void (*)(const DotTile&);

}  // namespace lowbit
