// vpdpbusd: 64 products and 16 sums in one instruction, in wrapping 32-bit arithmetic (the saturating form is
// another instruction). P pixels x B blocks of accumulators stay in registers; weights are loaded once for P
// pixels.
#include <immintrin.h>

#include "ops/dot8/select.h"
#include "ops/lanes.h"

namespace lowbit {
namespace {

template <int P, int B>
LOWBIT_INLINE void tile(const DotTile& t, int p0, int b0) {
  __m512i acc[P][B];
  LOWBIT_EACH(p, P) LOWBIT_EACH(b, B) acc[p][b] = _mm512_setzero_si512();
  const int8_t* w = t.w + b0 * t.block_bytes;
  for (int tap = 0; tap < t.taps; ++tap) {
    const uint8_t* x[P];
    for (int p = 0; p < P; ++p) x[p] = t.x[tap * TILE_PIXELS + p0 + p] + t.offset;
    for (int k = 0; k < t.words; ++k, w += 4 * LANES) {
      __m512i wb[B];
      for (int b = 0; b < B; ++b) wb[b] = _mm512_loadu_si512(w + b * t.block_bytes);
      for (int p = 0; p < P; ++p) {
        int32_t four;
        __builtin_memcpy(&four, x[p] + 4 * k, 4);
        const __m512i xp = _mm512_set1_epi32(four);
        // for (i = 0; i < 4; ++i) acc[lane] += x[4 * k + i] * w[4 * lane + i];
        for (int b = 0; b < B; ++b) acc[p][b] = _mm512_dpbusd_epi32(acc[p][b], xp, wb[b]);
      }
    }
  }
  // Without it gcc moves the sums between registers in every round, or keeps them in memory.
  LOWBIT_EACH(p, P) LOWBIT_EACH(b, B) asm volatile("" : "+v"(acc[p][b]));
  int32_t* out = t.out + p0 * t.stride + b0 * LANES;
  const int64_t stride = t.stride;
  LOWBIT_EACH(p, P) LOWBIT_EACH(b, B) _mm512_storeu_si512(out + p * stride + b * LANES, acc[p][b]);
}

template <int P, int B>
__attribute__((noinline)) void cell(const DotTile& t, int p0, int b0) {
  tile<P, B>(t, p0, b0);
}

template <int B>
void columns(const DotTile& t, int b0) {
  int p = 0;
  if constexpr (B < 3) {
    for (; t.pixels - p >= 8; p += 8) cell<8, B>(t, p, b0);
  }
  for (; t.pixels - p >= 6; p += 6) cell<6, B>(t, p, b0);
  for (; t.pixels - p >= 4; p += 4) cell<4, B>(t, p, b0);
  for (; t.pixels - p >= 2; p += 2) cell<2, B>(t, p, b0);
  if (t.pixels - p) cell<1, B>(t, p, b0);
}

}  // namespace

void dot8_u8s8_6x64_avx512vnni(const DotTile& t) {
  switch (t.blocks) {
    case 4:
      return columns<4>(t, 0);
    case 3:
      return columns<3>(t, 0);
    case 2:
      return columns<2>(t, 0);
    default:
      return columns<1>(t, 0);
  }
}

}  // namespace lowbit
