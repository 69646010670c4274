// Without VNNI. Where two products always fit an int16, vpmaddubsw multiplies 32 pairs of bytes at once;
// elsewhere it would saturate, and bytes are widened to 16 bits for vpmaddwd, whose sums of two products are
// exact in int32.
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

// One block of 16 channels, P pixels; two accumulators of 8 channels a pixel.
template <int P>
__attribute__((noinline)) void narrow(const DotTile& t, int p0, int b) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i acc[P][2];
  for (int p = 0; p < P; ++p) acc[p][0] = acc[p][1] = _mm256_setzero_si256();
  const int8_t* w = t.w + b * t.block_bytes;
  for (int tap = 0; tap < t.taps; ++tap) {
    const uint8_t* const* x = t.x + tap * TILE_PIXELS + p0;
    for (int k = 0; k < t.words; ++k, w += 4 * LANES) {
      const __m256i w0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
      const __m256i w1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 32));
      for (int p = 0; p < P; ++p) {
        const __m256i xp = _mm256_set1_epi32(four(x[p] + t.offset + 4 * k));
        // for (i = 0; i < 4; ++i) acc[lane] += x[4 * k + i] * w[4 * lane + i];
        acc[p][0] = _mm256_add_epi32(acc[p][0], _mm256_madd_epi16(_mm256_maddubs_epi16(xp, w0), ones));
        acc[p][1] = _mm256_add_epi32(acc[p][1], _mm256_madd_epi16(_mm256_maddubs_epi16(xp, w1), ones));
      }
    }
  }
  for (int p = 0; p < P; ++p)
    for (int h = 0; h < 2; ++h)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(t.out + (p0 + p) * t.stride + b * LANES + 8 * h),
                          acc[p][h]);
}

// The same in 16 bits; four accumulators of 4 channels x 2 halves a pixel.
template <int P>
__attribute__((noinline)) void wide(const DotTile& t, int p0, int b) {
  __m256i acc[P][4];
  for (int p = 0; p < P; ++p)
    for (int q = 0; q < 4; ++q) acc[p][q] = _mm256_setzero_si256();
  const int8_t* w = t.w + b * t.block_bytes;
  for (int tap = 0; tap < t.taps; ++tap) {
    const uint8_t* const* x = t.x + tap * TILE_PIXELS + p0;
    for (int k = 0; k < t.words; ++k, w += 4 * LANES) {
      __m256i xp[P];
      for (int p = 0; p < P; ++p) xp[p] = _mm256_cvtepu8_epi16(_mm_set1_epi32(four(x[p] + t.offset + 4 * k)));
      for (int q = 0; q < 4; ++q) {
        const __m256i wq =
            _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w + 16 * q)));
        // acc[lane][h] += x[4 * k + 2 * h] * w[4 * lane + 2 * h] + x[4 * k + 2 * h + 1] * w[4 * lane + 2 * h
        // + 1];
        for (int p = 0; p < P; ++p) acc[p][q] = _mm256_add_epi32(acc[p][q], _mm256_madd_epi16(xp[p], wq));
      }
    }
  }
  for (int p = 0; p < P; ++p) {
    for (int h = 0; h < 2; ++h) {
      // out[lane] = acc[lane][0] + acc[lane][1]; hadd works in 128-bit halves, the permutation restores the
      // order.
      const __m256i sum = _mm256_hadd_epi32(acc[p][2 * h], acc[p][2 * h + 1]);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(t.out + (p0 + p) * t.stride + b * LANES + 8 * h),
                          _mm256_permute4x64_epi64(sum, 0xD8));
    }
  }
}

}  // namespace

void dot8_u8s8_2x16_avx2(const DotTile& t) {
  for (int b = 0; b < t.blocks; ++b) {
    int p = 0;
    if (t.pairs_fit) {
      for (; t.pixels - p >= 4; p += 4) narrow<4>(t, p, b);
      for (; t.pixels - p >= 1; ++p) narrow<1>(t, p, b);
    } else {
      for (; t.pixels - p >= 2; p += 2) wide<2>(t, p, b);
      if (t.pixels - p) wide<1>(t, p, b);
    }
  }
}

}  // namespace lowbit
