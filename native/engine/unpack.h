// Reads packed codes (the layout of src/lowbit/pack.py) a row at a time.
#pragma once

#include <cstdint>

namespace lowbit {

inline uint8_t unpack_code(const uint8_t* packed, int bits, int64_t index) {
  const int64_t bit = index * bits;
  const uint8_t* byte = packed + (bit >> 3);
  const int shift = static_cast<int>(bit & 7);
  uint32_t window = byte[0];
  if (shift + bits > 8) window |= static_cast<uint32_t>(byte[1]) << 8;
  return static_cast<uint8_t>(window >> shift & ((1u << bits) - 1));
}

// Codes [first, first + count) of `bits` bits each, least significant bit first.
inline void unpack_codes(const uint8_t* packed, int bits, int64_t first, int64_t count, uint8_t* out) {
  int64_t i = 0;
  for (; i < count && (first + i) * bits % 8 != 0; ++i) out[i] = unpack_code(packed, bits, first + i);
  // From a whole byte on, eight codes are `bits` bytes.
  const uint64_t mask = (1u << bits) - 1;
  const uint8_t* from = packed + (first + i) * bits / 8;
  for (; i + 8 <= count; i += 8, from += bits) {
    uint64_t eight = 0;
    for (int k = 0; k < bits; ++k) eight |= static_cast<uint64_t>(from[k]) << (8 * k);
    for (int k = 0; k < 8; ++k, eight >>= bits) out[i + k] = static_cast<uint8_t>(eight & mask);
  }
  for (; i < count; ++i) out[i] = unpack_code(packed, bits, first + i);
}

}  // namespace lowbit
