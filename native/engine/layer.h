// Convolution and linear layers on integer units: int8 dot products, bit planes, half bytes, depthwise.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/epilogue.h"
#include "engine/step.h"
#include "engine/units.h"
#include "engine/window.h"
#include "ops/bits/select.h"
#include "ops/depthwise/select.h"
#include "ops/dot8/select.h"
#include "ops/nibbles/select.h"

namespace lowbit {

// What a layer reads: operand = code form of one input term, unit = slope * operand + first.
struct InputTerm {
  int value;  // id of the codes, translated codes or planes
  int32_t slope, first;
  int32_t largest;  // of the operand
  int planes;       // 0: bytes
};

struct LayerSpec {
  Window window;
  int64_t groups = 1, inner = 1, outer = 1;  // channels of one group
  const uint8_t* packed = nullptr;
  int bits = 0;
  std::vector<Units> weight_units;
  bool ones = false;  // one more weight term, 1 everywhere: the real offset of min-max weights
  std::vector<InputTerm> inputs;

  int64_t fan_in() const { return inner * window.taps(); }
  int64_t channels() const { return groups * outer; }
};

struct LayerTerms;

std::unique_ptr<Step> make_layer(const std::string& kind, LayerSpec spec, Epilogue epilogue, Isa isa);
std::unique_ptr<Step> make_tile_layer(LayerSpec spec, Epilogue epilogue, Isa isa);
// Null, and layer as it was, where it is not of one bit by one, has groups or dilated columns, or the
// instruction set has no kernel for it.
std::unique_ptr<Step> make_binary_layer(const LayerSpec& spec, LayerTerms& layer, const Epilogue& epilogue,
                                        Isa isa);
std::unique_ptr<Step> make_direct(LayerSpec spec, std::vector<Units> input_units, bool codebook,
                                  Epilogue epilogue, Isa isa);

}  // namespace lowbit
