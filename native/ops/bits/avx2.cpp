// As the plain AVX-512 version, on two halves of 8 channels.
#include <immintrin.h>

#include "ops/bits/cells.h"
#include "ops/bits/select.h"

namespace lowbit {
namespace {

LOWBIT_INLINE __m256i count_bytes(__m256i v) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2,
                                         3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  return _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(v, low)),
                         _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), low)));
}

LOWBIT_INLINE __m256i widen(__m256i bytes) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1)), _mm256_set1_epi16(1));
}

LOWBIT_INLINE __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

struct Cells {
  template <int N>
  static constexpr int pixels() {
    return N == 1 ? 4 : N == 2 ? 2 : 1;
  }

  template <Coding C, int P, int NW, int NX>
  static __attribute__((noinline)) void run(const BitTile& t, const BitCell& cell) {
    for (int h = 0; h < 2; ++h) half<C, P, NW, NX>(t, cell, h);
  }

  template <Coding C, int P, int NW, int NX>
  LOWBIT_INLINE void half(const BitTile& t, const BitCell& cell, int h) {
    __m256i acc[P][NW][NX], bytes[P][NW][NX];
    for (int p = 0; p < P; ++p)
      for (int i = 0; i < NW; ++i)
        for (int j = 0; j < NX; ++j) acc[p][i][j] = bytes[p][i][j] = _mm256_setzero_si256();
    const uint32_t* w = t.w + cell.b * t.block_words + cell.wi * LANES + 8 * h;
    const int64_t step = t.w_planes * LANES, x_step = 4 * t.x_planes;
    int pending = 0;
    const auto flush = [&]() __attribute__((always_inline)) {
      for (int p = 0; p < P; ++p)
        for (int i = 0; i < NW; ++i)
          for (int j = 0; j < NX; ++j) {
            acc[p][i][j] = _mm256_add_epi32(acc[p][i][j], widen(bytes[p][i][j]));
            bytes[p][i][j] = _mm256_setzero_si256();
          }
      pending = 0;
    };
    for (int tap = 0; tap < t.taps; ++tap) {
      for (int k = 0; k < t.words; ++k, w += step) {
        __m256i wi[NW], negative = _mm256_setzero_si256();
        for (int i = 0; i < NW; ++i) wi[i] = load256(w + i * LANES);
        if (C == Coding::mask) negative = load256(w + LANES);
        for (int p = 0; p < P; ++p) {
          const uint8_t* x = cell_x(t, tap, cell.p + p) + 4 * cell.xj + k * x_step;
          for (int j = 0; j < NX; ++j) {
            const __m256i xj = _mm256_set1_epi32(static_cast<int32_t>(word_at(x, j)));
            for (int i = 0; i < NW; ++i) {
              // bytes[lane] += popcount(w[lane] & x);
              const __m256i both = C == Coding::and_ ? _mm256_and_si256(wi[i], xj)
                                   : C == Coding::xor_
                                       ? _mm256_xor_si256(wi[i], xj)
                                       : _mm256_and_si256(wi[i], _mm256_xor_si256(negative, xj));
              bytes[p][i][j] = _mm256_add_epi8(bytes[p][i][j], count_bytes(both));
            }
          }
        }
        if (++pending == 31) flush();
      }
    }
    flush();
    for (int p = 0; p < P; ++p) {
      int32_t* out = t.out + (cell.p + p) * t.stride + cell.b * LANES + 8 * h;
      __m256i sum = cell.first ? _mm256_setzero_si256() : load256(out);
      for (int i = 0; i < NW; ++i)
        for (int j = 0; j < NX; ++j) {
          const __m256i weight =
              _mm256_set1_epi32(static_cast<int32_t>(cell_weight(t, cell.wi + i, cell.xj + j)));
          sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(acc[p][i][j], weight));
        }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), sum);
    }
  }
};

}  // namespace

void bits_4x16_avx2(const BitTile& t) { walk<Cells>(t); }

}  // namespace lowbit
