// How the integer units of a grid become operands of a kernel.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/bits/params.h"

namespace lowbit {

using Units = std::vector<int32_t>;  // unit of every code of one term

// unit = slope * operand + first, operand in -128..127.
struct ByteOperand {
  bool fits = false;
  int32_t slope = 1, first = 0, largest = 0;  // largest: max |operand|
  std::vector<int8_t> operand;                // of every code
};

ByteOperand byte_operand(const Units& units);

// unit = sum over planes of weight[i] * (what Coding says plane i stands for).
struct PlaneOperand {
  Coding coding = Coding::and_;
  std::vector<int32_t> weight;
  std::vector<std::vector<bool>> planes;  // [plane][code]
  int products() const { return coding == Coding::mask ? 1 : static_cast<int>(planes.size()); }
};

PlaneOperand plane_operand(const Units& units);

}  // namespace lowbit
