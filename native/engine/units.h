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

// Weights of a few bits as half bytes have them: unit = slope * w. A product with an activation 0..largest
// counts max(0, -w * largest) too much, so that it is no less than 0.
struct NibbleOperand {
  bool fits = false;
  int32_t slope = 1;
  std::vector<int32_t> w;  // of every code
  int most = 1;            // sums of half a byte that always fit a byte when they are added
};

// Bytes of one tap: a bit a channel in whole words, as planes are, or two bits a channel.
inline int64_t nibble_bytes(int64_t inner, int bits) {
  return bits == 1 ? (inner + 31) / 32 * 4 : (inner + 3) / 4;
}

// bits: 1 or 2, of weights and activations.
NibbleOperand nibble_operand(const Units& units, int bits, int32_t largest);

}  // namespace lowbit
