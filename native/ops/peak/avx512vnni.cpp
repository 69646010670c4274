#include "ops/peak/loop.h"
#include "ops/peak/select.h"

namespace lowbit {

int64_t peak_bits_avx512vpopcntdq(int64_t rounds) {
  return peak_loop(rounds, 2 * 512, _mm512_set1_epi32(5), [](__m512i sum, __m512i x, __m512i w) {
    return _mm512_add_epi32(sum, _mm512_popcnt_epi32(_mm512_xor_si512(x, w)));
  });
}

int64_t peak_bytes_avx512vnni(int64_t rounds) {
  return peak_loop(rounds, 2 * 64, _mm512_set1_epi32(5),
                   [](__m512i sum, __m512i x, __m512i w) { return _mm512_dpbusd_epi32(sum, x, w); });
}

int64_t peak_words_avx512vnni(int64_t rounds) {
  return peak_loop(rounds, 2 * 32, _mm512_set1_epi32(5),
                   [](__m512i sum, __m512i x, __m512i w) { return _mm512_dpwssd_epi32(sum, x, w); });
}

}  // namespace lowbit
