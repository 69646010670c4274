// Codes of a float image, channel after channel in memory, by stages that treat all channels alike.
#pragma once

#include "ops/epilogue/params.h"

namespace lowbit {

struct ImageTile {
  const float* x;         // [channels][all]
  int64_t all;            // pixels of the image
  int64_t pixel, pixels;  // first and number
  int channels;
  const Stage* stages;  // without arrays of channels, the last one makes codes
  int stage_count;
  Sink sink;  // codes or planes
};

// Returns whether NaN or infinity was met; codes are as good as any other then.
using ImageKernel = bool (*)(const ImageTile&);

}  // namespace lowbit
