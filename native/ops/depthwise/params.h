// Depthwise convolution: every output channel reads one input channel. Lanes are channels of both.
#pragma once

#include <cstdint>

#include "ops/dot8/params.h"

namespace lowbit {

struct DepthwiseTile {
  const uint8_t* const* x;  // [taps][TILE_PIXELS]
  int taps;
  const int16_t* w;  // [taps][w_stride] units, output channels in order
  int64_t w_stride;  // channels rounded up to 16
  int channel;       // first output channel
  int multiplier;    // output channels of one input channel
  int last;          // last input channel: reads beyond it are clamped
  int32_t* out;      // [pixels][stride]
  int64_t stride;
  int pixels;
  int blocks;
};

using DepthwiseKernel = void (*)(const DepthwiseTile&);

}  // namespace lowbit
