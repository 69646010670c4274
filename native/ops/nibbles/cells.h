// What the vector versions share. `V` is a register of bytes, V::BLOCKS blocks of 16 channels wide.
#pragma once

#include "ops/lanes.h"
#include "ops/nibbles/reference.h"

namespace lowbit {
namespace {

// P pixels of two registers of channels. Entries are added in bytes while these cannot overflow, then in 16
// bits, at last in 32.
template <class V, int P, int B>
__attribute__((noinline)) void cell(const NibbleTile& t, int p0, int b0) {
  constexpr int FLUSHES = 128;  // 2 * 128 * 255 <= 65535: both halves of a register fit 16 bits together
  typename V::Bytes acc[P][B];
  typename V::Bytes sums[P][B][2];  // 16-bit sums of even and odd bytes
  for (int p = 0; p < P; ++p)
    for (int b = 0; b < B; ++b) acc[p][b] = sums[p][b][0] = sums[p][b][1] = V::zero();
  int left = t.most, flushes = FLUSHES;
  bool first = true;
  const auto flush = [&]() __attribute__((always_inline)) {
    for (int p = 0; p < P; ++p)
      for (int b = 0; b < B; ++b) {
        sums[p][b][0] = V::add16(sums[p][b][0], V::even(acc[p][b]));
        sums[p][b][1] = V::add16(sums[p][b][1], V::odd(acc[p][b]));
        acc[p][b] = V::zero();
      }
    left = t.most;
  };
  const auto store = [&]() __attribute__((always_inline)) {
    for (int p = 0; p < P; ++p)
      for (int b = 0; b < B; ++b) {
        V::store(t.out + (p0 + p) * t.stride + (b0 + b * V::BLOCKS) * LANES, sums[p][b][0], sums[p][b][1],
                 first);
        sums[p][b][0] = sums[p][b][1] = V::zero();
      }
    first = false;
    flushes = FLUSHES;
  };
  const uint8_t* w = t.w + b0 * t.block_bytes;
  for (int tap = 0; tap < t.taps; ++tap) {
    const uint8_t* x[P];
    for (int p = 0; p < P; ++p) x[p] = t.x[tap * TILE_PIXELS + p0 + p] + t.offset;
    for (int64_t k = 0; k < t.bytes;) {
      const int64_t stop = k + left < t.bytes ? k + left : t.bytes;
      left -= static_cast<int>(stop - k);
      for (; k < stop; ++k, w += 32) {
        typename V::Bytes wb[B];
        for (int b = 0; b < B; ++b) wb[b] = V::weights(w + b * V::BLOCKS * t.block_bytes, t.block_bytes);
        for (int p = 0; p < P; ++p) {
          const typename V::Bytes table = V::table(t.tables + 32 * int64_t(x[p][k]));
          for (int b = 0; b < B; ++b) acc[p][b] = V::add8(acc[p][b], V::look_up(table, wb[b]));
        }
      }
      if (left == 0) {
        flush();
        if (--flushes == 0) store();
      }
    }
  }
  flush();
  store();
}

template <class V, int B>
LOWBIT_INLINE void columns(const NibbleTile& t, int b0) {
  int p = 0;
  for (; t.pixels - p >= 4; p += 4) cell<V, 4, B>(t, p, b0);
  for (; t.pixels - p >= 2; p += 2) cell<V, 2, B>(t, p, b0);
  if (t.pixels - p) cell<V, 1, B>(t, p, b0);
}

}  // namespace
}  // namespace lowbit
