// cnt counts the bits of each byte. Counts stay in bytes for up to 31 words (31 * 8 = 248 <= 255), then widen
// to 32 bits. A block of 16 channels is four registers, taken one after the other.
#include <arm_neon.h>

#include "ops/bits/cells.h"
#include "ops/bits/select.h"

namespace lowbit {
namespace {

struct Cells {
  template <int N>
  static constexpr int pixels() {
    return 2;
  }

  template <Coding C, int P, int NW, int NX>
  static __attribute__((noinline)) void run(const BitTile& t, const BitCell& cell) {
    for (int lane = 0; lane < LANES; lane += 4) quarter<C, P, NW, NX>(t, cell, lane);
  }

  template <Coding C, int P, int NW, int NX>
  LOWBIT_INLINE void quarter(const BitTile& t, const BitCell& cell, int lane) {
    uint32x4_t sums[P][NW][NX];
    uint8x16_t bytes[P][NW][NX];
    for (int p = 0; p < P; ++p)
      for (int i = 0; i < NW; ++i)
        for (int j = 0; j < NX; ++j) sums[p][i][j] = vdupq_n_u32(0), bytes[p][i][j] = vdupq_n_u8(0);
    const uint32_t* w = t.w + cell.b * t.block_words + cell.wi * LANES + lane;
    const int64_t step = t.w_planes * LANES, x_step = 4 * t.x_planes;
    int pending = 0;
    const auto flush = [&]() __attribute__((always_inline)) {
      for (int p = 0; p < P; ++p)
        for (int i = 0; i < NW; ++i)
          for (int j = 0; j < NX; ++j) {
            sums[p][i][j] = vpadalq_u16(sums[p][i][j], vpaddlq_u8(bytes[p][i][j]));
            bytes[p][i][j] = vdupq_n_u8(0);
          }
      pending = 0;
    };
    for (int tap = 0; tap < t.taps; ++tap) {
      for (int k = 0; k < t.words; ++k, w += step) {
        uint32x4_t wi[NW], negative = vdupq_n_u32(0);
        for (int i = 0; i < NW; ++i) wi[i] = vld1q_u32(w + i * LANES);
        if (C == Coding::mask) negative = vld1q_u32(w + LANES);
        for (int p = 0; p < P; ++p) {
          const uint8_t* x = cell_x(t, tap, cell.p + p) + 4 * cell.xj + k * x_step;
          for (int j = 0; j < NX; ++j) {
            const uint32x4_t xj = vdupq_n_u32(word_at(x, j));
            for (int i = 0; i < NW; ++i) {
              // bytes[lane] += popcount(w[lane] & x);
              const uint32x4_t both = C == Coding::and_   ? vandq_u32(wi[i], xj)
                                      : C == Coding::xor_ ? veorq_u32(wi[i], xj)
                                                          : vandq_u32(wi[i], veorq_u32(negative, xj));
              bytes[p][i][j] = vaddq_u8(bytes[p][i][j], vcntq_u8(vreinterpretq_u8_u32(both)));
            }
          }
        }
        if (++pending == 31) flush();
      }
    }
    flush();
    for (int p = 0; p < P; ++p) {
      auto* out = reinterpret_cast<uint32_t*>(t.out) + (cell.p + p) * t.stride + cell.b * LANES + lane;
      uint32x4_t sum = cell.first ? vdupq_n_u32(0) : vld1q_u32(out);
      for (int i = 0; i < NW; ++i)
        for (int j = 0; j < NX; ++j)
          sum = vmlaq_n_u32(sum, sums[p][i][j], cell_weight(t, cell.wi + i, cell.xj + j));
      vst1q_u32(out, sum);
    }
  }
};

}  // namespace

void bits_2x16_neon(const BitTile& t) { walk<Cells>(t); }

}  // namespace lowbit
