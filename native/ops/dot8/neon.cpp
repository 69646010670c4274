// Bytes are widened to 16 bits: products of unsigned and signed bytes have no instruction in the base set. A
// register holds four partial sums of one output channel, which meet at the end.
#include <arm_neon.h>

#include "ops/dot8/select.h"
#include "ops/lanes.h"

namespace lowbit {
namespace {

LOWBIT_INLINE void pixel(const DotTile& t, int p, int b) {
  const int8_t* w = t.w + b * t.block_bytes;
  int32x4_t sums[LANES];
  for (int lane = 0; lane < LANES; ++lane) sums[lane] = vdupq_n_s32(0);
  for (int tap = 0; tap < t.taps; ++tap) {
    const uint8_t* x = t.x[tap * TILE_PIXELS + p] + t.offset;
    for (int k = 0; k < t.words; ++k, w += 4 * LANES) {
      uint32_t four;
      __builtin_memcpy(&four, x + 4 * k, 4);
      const int16x8_t xs = vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four))));
      // sums[lane][i] += x[i] * w[lane][i];
      for (int lane = 0; lane < LANES; lane += 4) {
        const int8x16_t bytes = vld1q_s8(w + 4 * lane);
        const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
        sums[lane] = vmlal_s16(sums[lane], vget_low_s16(low), vget_low_s16(xs));
        sums[lane + 1] = vmlal_high_s16(sums[lane + 1], low, xs);
        sums[lane + 2] = vmlal_s16(sums[lane + 2], vget_low_s16(high), vget_low_s16(xs));
        sums[lane + 3] = vmlal_high_s16(sums[lane + 3], high, xs);
      }
    }
  }
  int32_t* out = t.out + p * t.stride + b * LANES;
  for (int lane = 0; lane < LANES; lane += 4)
    vst1q_s32(out + lane,
              vpaddq_s32(vpaddq_s32(sums[lane], sums[lane + 1]), vpaddq_s32(sums[lane + 2], sums[lane + 3])));
}

}  // namespace

void dot8_u8s8_1x16_neon(const DotTile& t) {
  for (int b = 0; b < t.blocks; ++b)
    for (int p = 0; p < t.pixels; ++p) pixel(t, p, b);
}

}  // namespace lowbit
