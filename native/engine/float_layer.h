// Layers with float activations and float or packed weights.
#pragma once

#include <memory>
#include <vector>

#include "engine/epilogue.h"
#include "engine/step.h"
#include "engine/units.h"
#include "engine/window.h"

namespace lowbit {

struct FloatSpec {
  Window window;
  int64_t groups = 1, inner = 1, outer = 1;
  int input = 0;
  std::vector<uint8_t> packed;  // codes, or the bytes of float32 [out][inner][taps] where bits is 0
  int bits = 0;
  std::vector<Units> units;   // [terms][codes]
  std::vector<float> scales;  // [terms][width], width 1 or the output channels
  int64_t width = 1;
  std::vector<float> offsets;  // none, one, or one a channel

  void values(int64_t channel, float* out) const;  // float of every code, at most 256
};

std::unique_ptr<Step> make_float_layer(FloatSpec spec, Epilogue epilogue, Isa isa);

// For packed weights with one term of units, without offsets; more than 4 bits need equally spaced units. The
// sums are those of units: the epilogue starts with the scales.
std::unique_ptr<Step> make_weight_only(const FloatSpec& spec, Epilogue epilogue, Isa isa);

}  // namespace lowbit
