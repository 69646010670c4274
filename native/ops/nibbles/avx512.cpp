#include <immintrin.h>

#include "ops/nibbles/cells.h"
#include "ops/nibbles/select.h"

namespace lowbit {
namespace {

struct TwoBlocks {
  static constexpr int BLOCKS = 2;
  using Bytes = __m512i;
  LOWBIT_INLINE Bytes zero() { return _mm512_setzero_si512(); }
  LOWBIT_INLINE __m256i half(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  LOWBIT_INLINE Bytes weights(const uint8_t* w, int64_t next) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(half(w)), half(w + next), 1);
  }
  LOWBIT_INLINE Bytes table(const uint8_t* row) { return _mm512_broadcast_i64x4(half(row)); }
  LOWBIT_INLINE Bytes look_up(Bytes table, Bytes w) { return _mm512_shuffle_epi8(table, w); }
  LOWBIT_INLINE Bytes add8(Bytes a, Bytes b) { return _mm512_add_epi8(a, b); }
  LOWBIT_INLINE Bytes add16(Bytes a, Bytes b) { return _mm512_add_epi16(a, b); }
  LOWBIT_INLINE Bytes even(Bytes v) { return _mm512_and_si512(v, _mm512_set1_epi16(255)); }
  LOWBIT_INLINE Bytes odd(Bytes v) { return _mm512_srli_epi16(v, 8); }

  LOWBIT_INLINE __m128i both(__m256i v) {
    return _mm_add_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  }

  LOWBIT_INLINE void put(int32_t* out, __m256i even, __m256i odd, bool first) {
    const __m128i e = both(even), o = both(odd);
    const __m256i sums = _mm256_set_m128i(_mm_unpackhi_epi16(e, o), _mm_unpacklo_epi16(e, o));
    __m512i v = _mm512_cvtepu16_epi32(sums);
    if (!first) v = _mm512_add_epi32(v, _mm512_loadu_si512(out));
    _mm512_storeu_si512(out, v);
  }

  // Channels 0, 2, .. and 1, 3, .. of both halves of two blocks.
  LOWBIT_INLINE void store(int32_t* out, Bytes even, Bytes odd, bool first) {
    put(out, _mm512_castsi512_si256(even), _mm512_castsi512_si256(odd), first);
    put(out + LANES, _mm512_extracti64x4_epi64(even, 1), _mm512_extracti64x4_epi64(odd, 1), first);
  }
};

struct OneBlock : TwoBlocks {
  static constexpr int BLOCKS = 1;
  LOWBIT_INLINE Bytes weights(const uint8_t* w, int64_t) { return _mm512_castsi256_si512(half(w)); }
  LOWBIT_INLINE void store(int32_t* out, Bytes even, Bytes odd, bool first) {
    put(out, _mm512_castsi512_si256(even), _mm512_castsi512_si256(odd), first);
  }
};

}  // namespace

void nibbles_4x64_avx512bw(const NibbleTile& t) {
  int b = 0;
  for (; t.blocks - b >= 4; b += 4) columns<TwoBlocks, 2>(t, b);
  for (; t.blocks - b >= 2; b += 2) columns<TwoBlocks, 1>(t, b);
  if (t.blocks - b) columns<OneBlock, 1>(t, b);
}

}  // namespace lowbit
