// Without vpopcntd: a table of the popcounts of 4 bits in a byte shuffle. Counts stay in bytes for up to 31
// words (at most 8 a byte and word, 31 * 8 = 248 <= 255), then widen to 32 bits.
#include <immintrin.h>

#include "ops/bits/cells.h"
#include "ops/bits/select.h"

namespace lowbit {
namespace {

LOWBIT_INLINE __m512i count_bytes(__m512i v) {
  const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m512i low = _mm512_set1_epi8(15);
  return _mm512_add_epi8(_mm512_shuffle_epi8(table, _mm512_and_si512(v, low)),
                         _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(v, 4), low)));
}

LOWBIT_INLINE __m512i widen(__m512i bytes) {
  return _mm512_madd_epi16(_mm512_maddubs_epi16(bytes, _mm512_set1_epi8(1)), _mm512_set1_epi16(1));
}

struct Cells {
  template <int N>
  static constexpr int pixels() {
    return N == 1 ? 8 : N == 2 ? 4 : 2;
  }

  template <Coding C, int P, int NW, int NX>
  static __attribute__((noinline)) void run(const BitTile& t, const BitCell& cell) {
    __m512i acc[P][NW][NX], bytes[P][NW][NX];
    for (int p = 0; p < P; ++p)
      for (int i = 0; i < NW; ++i)
        for (int j = 0; j < NX; ++j) acc[p][i][j] = bytes[p][i][j] = _mm512_setzero_si512();
    const uint32_t* w = t.w + cell.b * t.block_words + cell.wi * LANES;
    const int64_t step = t.w_planes * LANES, x_step = 4 * t.x_planes;
    int pending = 0;
    const auto flush = [&]() __attribute__((always_inline)) {
      for (int p = 0; p < P; ++p)
        for (int i = 0; i < NW; ++i)
          for (int j = 0; j < NX; ++j) {
            acc[p][i][j] = _mm512_add_epi32(acc[p][i][j], widen(bytes[p][i][j]));
            bytes[p][i][j] = _mm512_setzero_si512();
          }
      pending = 0;
    };
    for (int tap = 0; tap < t.taps; ++tap) {
      for (int k = 0; k < t.words; ++k, w += step) {
        __m512i wi[NW], negative = _mm512_setzero_si512();
        for (int i = 0; i < NW; ++i) wi[i] = _mm512_loadu_si512(w + i * LANES);
        if (C == Coding::mask) negative = _mm512_loadu_si512(w + LANES);
        for (int p = 0; p < P; ++p) {
          const uint8_t* x = cell_x(t, tap, cell.p + p) + 4 * cell.xj + k * x_step;
          for (int j = 0; j < NX; ++j) {
            const __m512i xj = _mm512_set1_epi32(static_cast<int32_t>(word_at(x, j)));
            for (int i = 0; i < NW; ++i) {
              // bytes[lane] += popcount(w[lane] & x);
              const __m512i both = C == Coding::and_   ? _mm512_and_si512(wi[i], xj)
                                   : C == Coding::xor_ ? _mm512_xor_si512(wi[i], xj)
                                                       : _mm512_ternarylogic_epi32(wi[i], negative, xj, 0x60);
              bytes[p][i][j] = _mm512_add_epi8(bytes[p][i][j], count_bytes(both));
            }
          }
        }
        if (++pending == 31) flush();
      }
    }
    flush();
    for (int p = 0; p < P; ++p) {
      int32_t* out = t.out + (cell.p + p) * t.stride + cell.b * LANES;
      __m512i sum = cell.first ? _mm512_setzero_si512() : _mm512_loadu_si512(out);
      for (int i = 0; i < NW; ++i)
        for (int j = 0; j < NX; ++j) {
          const __m512i weight =
              _mm512_set1_epi32(static_cast<int32_t>(cell_weight(t, cell.wi + i, cell.xj + j)));
          sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(acc[p][i][j], weight));
        }
      _mm512_storeu_si512(out, sum);
    }
  }
};

}  // namespace

void bits_8x16_avx512bw(const BitTile& t) { walk<Cells>(t); }

}  // namespace lowbit
