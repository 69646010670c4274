// Which kernel executes a layer: a cost model over what the operands allow and what memory loading may take.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/units.h"
#include "ops/isa.h"

namespace lowbit {

struct LayerShape {
  int64_t groups, inner, outer, taps;
  int64_t pixels;   // of the output
  int64_t classes;  // upper bound of the padding classes, 0 where none is needed
};

// Returns the kind ("tile8", "dot8", "bits", "nibbles1", "nibbles2", "depthwise", "direct") and the bytes it
// will allocate. nibbles1 and bits read planes, the others bytes. x_planes: planes of every input term, empty
// where an input has no byte form.
std::pair<std::string, int64_t> choose_layer(Isa isa, const LayerShape& shape,
                                             const std::vector<Units>& weights,
                                             const std::vector<int>& x_planes, bool ones, bool codebook,
                                             int64_t budget);

}  // namespace lowbit
