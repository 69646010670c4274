#include "ops/peak/loop.h"
#include "ops/peak/select.h"

namespace lowbit {

int64_t peak_bits_avx512bw(int64_t rounds) {
  const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m512i low = _mm512_set1_epi8(15);
  return peak_loop(rounds, 2 * 512, low, [=](__m512i sum, __m512i x, __m512i w) {
    const __m512i v = _mm512_xor_si512(x, w);
    const __m512i counts =
        _mm512_add_epi8(_mm512_shuffle_epi8(table, _mm512_and_si512(v, low)),
                        _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(v, 4), low)));
    return _mm512_add_epi8(sum, counts);
  });
}

int64_t peak_bytes_avx512bw(int64_t rounds) {
  const __m512i ones = _mm512_set1_epi16(1);
  return peak_loop(rounds, 2 * 64, ones, [=](__m512i sum, __m512i x, __m512i w) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(x, w), ones));
  });
}

int64_t peak_words_avx512bw(int64_t rounds) {
  return peak_loop(rounds, 2 * 32, _mm512_set1_epi16(1), [](__m512i sum, __m512i x, __m512i w) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(x, w));
  });
}

int64_t peak_floats_avx512bw(int64_t rounds) {
  return peak_loop(rounds, 2 * 16, _mm512_set1_ps(1),
                   [](__m512 sum, __m512 x, __m512 w) { return _mm512_add_ps(sum, _mm512_mul_ps(x, w)); });
}

int64_t peak_nibbles_avx512bw(int64_t rounds) {
  return peak_loop(rounds, 2 * 256, _mm512_set1_epi8(1), [](__m512i sum, __m512i x, __m512i w) {
    return _mm512_add_epi8(sum, _mm512_shuffle_epi8(x, w));
  });
}

}  // namespace lowbit
