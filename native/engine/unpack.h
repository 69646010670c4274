// Reads packed codes (the layout of src/lowbit/pack.py) a row at a time.
#pragma once

#include <cstdint>

namespace lowbit {

// Codes [first, first + count) of `bits` bits each, least significant bit first.
inline void unpack_codes(const uint8_t* packed, int bits, int64_t first, int64_t count, uint8_t* out) {
  const uint32_t mask = (1u << bits) - 1;
  int64_t bit = first * bits;
  for (int64_t i = 0; i < count; ++i, bit += bits) {
    const uint8_t* byte = packed + (bit >> 3);
    const int shift = static_cast<int>(bit & 7);
    uint32_t window = byte[0];
    if (shift + bits > 8) window |= static_cast<uint32_t>(byte[1]) << 8;
    out[i] = static_cast<uint8_t>(window >> shift & mask);
  }
}

}  // namespace lowbit
