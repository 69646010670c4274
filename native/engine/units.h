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

// unit = slope * w; what half a byte of weights makes with half a byte of activations 0..largest, no less
// than 0: sum of w * x + max(0, -w * largest).
struct NibbleOperand {
  bool fits = false;
  int32_t slope = 1;
  std::vector<uint8_t> tables;  // [256][32] as NibbleTile has them
  int most = 1;                 // so many entries always fit a byte when they are added
};

// Bytes of one tap: a bit a channel in whole words, as planes are, or two bits a channel.
inline int64_t nibble_bytes(int64_t inner, int bits) {
  return bits == 1 ? (inner + 31) / 32 * 4 : (inner + 3) / 4;
}

// bits: 1 or 2, of weights and activations.
NibbleOperand nibble_operand(const Units& units, int bits, int32_t largest);

}  // namespace lowbit
