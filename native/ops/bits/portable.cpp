#include "ops/bits/reference.h"
#include "ops/bits/select.h"

namespace lowbit {
namespace {

// Population count of 16 words, by adding neighbours of 1, 2, 4 bits, then multiplying the four bytes
// together.
LOWBIT_INLINE U16 popcount16(U16 v) {
  v -= (v >> 1) & 0x55555555u;
  v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
  v = (v + (v >> 4)) & 0x0F0F0F0Fu;
  v += v >> 8;
  return (v + (v >> 16)) & 0x3Fu;
}

template <Coding C>
LOWBIT_INLINE void pixel(const BitTile& t, int p, int b) {
  const int planes = C == Coding::mask ? 1 : t.w_planes;
  U16 sum = {};
  for (int tap = 0; tap < t.taps; ++tap) {
    const uint8_t* x = cell_x(t, tap, p);
    for (int k = 0; k < t.words; ++k) {
      const uint32_t* w = t.w + b * t.block_words + (int64_t(tap) * t.words + k) * t.w_planes * LANES;
      for (int i = 0; i < planes; ++i) {
        const U16 wi = load<U16>(w + i * LANES);
        for (int j = 0; j < t.x_planes; ++j) {
          const uint32_t xj = word_at(x, int64_t(k) * t.x_planes + j);
          // sum += weight * popcount(w & x);
          const U16 both = C == Coding::and_   ? (wi & xj)
                           : C == Coding::xor_ ? (wi ^ xj)
                                               : (wi & (load<U16>(w + LANES) ^ xj));
          sum += popcount16(both) * cell_weight(t, i, j);
        }
      }
    }
  }
  store(t.out + p * t.stride + b * LANES, sum);
}

}  // namespace

void bits_1x16_portable(const BitTile& t) {
  for (int b = 0; b < t.blocks; ++b) {
    for (int p = 0; p < t.pixels; ++p) {
      if (t.coding == Coding::and_) {
        pixel<Coding::and_>(t, p, b);
      } else if (t.coding == Coding::xor_) {
        pixel<Coding::xor_>(t, p, b);
      } else {
        pixel<Coding::mask>(t, p, b);
      }
    }
  }
}

}  // namespace lowbit
