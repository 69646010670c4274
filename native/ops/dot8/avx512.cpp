// Plain AVX-512BW: the AVX2 kernels, twice as wide.
#include <immintrin.h>

#include "ops/dot8/select.h"
#include "ops/lanes.h"

namespace lowbit {
namespace {

LOWBIT_INLINE int32_t four(const uint8_t* x) {
  int32_t v;
  __builtin_memcpy(&v, x, 4);
  return v;
}

template <int P>
__attribute__((noinline)) void narrow(const DotTile& t, int p0, int b) {
  const __m512i ones = _mm512_set1_epi16(1);
  __m512i acc[P];
  for (int p = 0; p < P; ++p) acc[p] = _mm512_setzero_si512();
  const int8_t* w = t.w + b * t.block_bytes;
  for (int tap = 0; tap < t.taps; ++tap) {
    const uint8_t* const* x = t.x + tap * TILE_PIXELS + p0;
    for (int k = 0; k < t.words; ++k, w += 4 * LANES) {
      const __m512i wb = _mm512_loadu_si512(w);
      for (int p = 0; p < P; ++p) {
        const __m512i xp = _mm512_set1_epi32(four(x[p] + t.offset + 4 * k));
        // for (i = 0; i < 4; ++i) acc[lane] += x[4 * k + i] * w[4 * lane + i];
        acc[p] = _mm512_add_epi32(acc[p], _mm512_madd_epi16(_mm512_maddubs_epi16(xp, wb), ones));
      }
    }
  }
  for (int p = 0; p < P; ++p) _mm512_storeu_si512(t.out + (p0 + p) * t.stride + b * LANES, acc[p]);
}

// Bytes do not fit: two accumulators of 8 channels x 2 halves a pixel.
template <int P>
__attribute__((noinline)) void wide(const DotTile& t, int p0, int b) {
  __m512i acc[P][2];
  for (int p = 0; p < P; ++p) acc[p][0] = acc[p][1] = _mm512_setzero_si512();
  const int8_t* w = t.w + b * t.block_bytes;
  for (int tap = 0; tap < t.taps; ++tap) {
    const uint8_t* const* x = t.x + tap * TILE_PIXELS + p0;
    for (int k = 0; k < t.words; ++k, w += 4 * LANES) {
      const __m512i w0 = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
      const __m512i w1 = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 32)));
      for (int p = 0; p < P; ++p) {
        const __m512i xp = _mm512_cvtepu8_epi16(_mm256_set1_epi32(four(x[p] + t.offset + 4 * k)));
        // acc[lane][h] += x[4 * k + 2 * h] * w[4 * lane + 2 * h] + x[4 * k + 2 * h + 1] * w[4 * lane + 2 * h
        // + 1];
        acc[p][0] = _mm512_add_epi32(acc[p][0], _mm512_madd_epi16(xp, w0));
        acc[p][1] = _mm512_add_epi32(acc[p][1], _mm512_madd_epi16(xp, w1));
      }
    }
  }
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  for (int p = 0; p < P; ++p) {
    // out[lane] = acc[lane][0] + acc[lane][1];
    const __m512i sum = _mm512_add_epi32(_mm512_permutex2var_epi32(acc[p][0], even, acc[p][1]),
                                         _mm512_permutex2var_epi32(acc[p][0], odd, acc[p][1]));
    _mm512_storeu_si512(t.out + (p0 + p) * t.stride + b * LANES, sum);
  }
}

}  // namespace

void dot8_u8s8_8x16_avx512bw(const DotTile& t) {
  for (int b = 0; b < t.blocks; ++b) {
    int p = 0;
    if (t.pairs_fit) {
      for (; t.pixels - p >= 8; p += 8) narrow<8>(t, p, b);
      for (; t.pixels - p >= 4; p += 4) narrow<4>(t, p, b);
      for (; t.pixels - p >= 1; ++p) narrow<1>(t, p, b);
    } else {
      for (; t.pixels - p >= 8; p += 8) wide<8>(t, p, b);
      for (; t.pixels - p >= 4; p += 4) wide<4>(t, p, b);
      for (; t.pixels - p >= 1; ++p) wide<1>(t, p, b);
    }
  }
}

}  // namespace lowbit
