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

// Eight codes that follow each other, one a byte: halves, quarters and eighths move apart.
template <int BITS>
inline uint64_t spread_codes(uint64_t codes) {
  constexpr uint64_t four = (uint64_t{1} << 4 * BITS) - 1, two = (1u << 2 * BITS) - 1, one = (1u << BITS) - 1;
  constexpr uint64_t twos = two * 0x0000000100000001, ones = one * 0x0001000100010001;
  codes = (codes & four) | (codes & ~four) << (32 - 4 * BITS);
  codes = (codes & twos) | (codes & ~twos) << (16 - 2 * BITS);
  return (codes & ones) | (codes & ~ones) << (8 - BITS);
}

template <int BITS>
inline void unpack_eights(const uint8_t* packed, int64_t eights, uint8_t* out) {
  for (int64_t i = 0; i < eights; ++i, packed += BITS, out += 8) {
    uint64_t codes = 0;
    for (int k = 0; k < BITS; ++k) codes |= static_cast<uint64_t>(packed[k]) << (8 * k);
    codes = spread_codes<BITS>(codes);
    for (int k = 0; k < 8; ++k, codes >>= 8) out[k] = static_cast<uint8_t>(codes);
  }
}

// Codes [first, first + count) of `bits` bits each, least significant bit first.
inline void unpack_codes(const uint8_t* packed, int bits, int64_t first, int64_t count, uint8_t* out) {
  constexpr void (*EIGHTS[])(const uint8_t*, int64_t, uint8_t*) = {
      unpack_eights<1>, unpack_eights<2>, unpack_eights<3>, unpack_eights<4>,
      unpack_eights<5>, unpack_eights<6>, unpack_eights<7>, unpack_eights<8>};
  int64_t i = 0;
  for (; i < count && (first + i) * bits % 8 != 0; ++i) out[i] = unpack_code(packed, bits, first + i);
  // From a whole byte on, eight codes are `bits` bytes.
  const int64_t eights = (count - i) / 8;
  EIGHTS[bits - 1](packed + (first + i) * bits / 8, eights, out + i);
  for (i += 8 * eights; i < count; ++i) out[i] = unpack_code(packed, bits, first + i);
}

}  // namespace lowbit
