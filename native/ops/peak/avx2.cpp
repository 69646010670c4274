#include "ops/peak/loop.h"
#include "ops/peak/select.h"

namespace lowbit {
int64_t peak_bits_avx2(int64_t rounds) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2,
                                         3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  return peak_loop(rounds, 2 * 256, low, [=](__m256i sum, __m256i x, __m256i w) {
    const __m256i v = _mm256_xor_si256(x, w);
    const __m256i counts =
        _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(v, low)),
                        _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), low)));
    return _mm256_add_epi8(sum, counts);
  });
}

int64_t peak_bytes_avx2(int64_t rounds) {
  const __m256i ones = _mm256_set1_epi16(1);
  return peak_loop(rounds, 2 * 32, ones, [=](__m256i sum, __m256i x, __m256i w) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), ones));
  });
}

int64_t peak_words_avx2(int64_t rounds) {
  return peak_loop(rounds, 2 * 16, _mm256_set1_epi16(1), [](__m256i sum, __m256i x, __m256i w) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
  });
}

int64_t peak_floats_avx2(int64_t rounds) {
  return peak_loop(rounds, 2 * 8, _mm256_set1_ps(1),
                   [](__m256 sum, __m256 x, __m256 w) { return _mm256_add_ps(sum, _mm256_mul_ps(x, w)); });
}

int64_t peak_nibbles_avx2(int64_t rounds) {
  return peak_loop(rounds, 2 * 128, _mm256_set1_epi8(1), [](__m256i sum, __m256i x, __m256i w) {
    return _mm256_add_epi8(sum, _mm256_shuffle_epi8(x, w));
  });
}

}  // namespace lowbit
