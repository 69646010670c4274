#include <immintrin.h>

#include "ops/nibbles/cells.h"
#include "ops/nibbles/select.h"

namespace lowbit {
namespace {

struct Block {
  static constexpr int BLOCKS = 1;
  using Bytes = __m256i;
  LOWBIT_INLINE Bytes zero() { return _mm256_setzero_si256(); }
  LOWBIT_INLINE Bytes load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  LOWBIT_INLINE Bytes weights(const uint8_t* w, int64_t) { return load(w); }
  LOWBIT_INLINE Bytes table(const uint8_t* row) { return load(row); }
  LOWBIT_INLINE Bytes look_up(Bytes table, Bytes w) { return _mm256_shuffle_epi8(table, w); }
  LOWBIT_INLINE Bytes add8(Bytes a, Bytes b) { return _mm256_add_epi8(a, b); }
  LOWBIT_INLINE Bytes add16(Bytes a, Bytes b) { return _mm256_add_epi16(a, b); }
  LOWBIT_INLINE Bytes even(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi16(255)); }
  LOWBIT_INLINE Bytes odd(Bytes v) { return _mm256_srli_epi16(v, 8); }

  LOWBIT_INLINE void put(int32_t* out, __m128i sums, bool first) {
    __m256i v = _mm256_cvtepu16_epi32(sums);
    if (!first) v = _mm256_add_epi32(v, load(out));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), v);
  }

  // Channels 0, 2, .. and 1, 3, .. of both halves.
  LOWBIT_INLINE void store(int32_t* out, Bytes even, Bytes odd, bool first) {
    const __m128i e = _mm_add_epi16(_mm256_castsi256_si128(even), _mm256_extracti128_si256(even, 1));
    const __m128i o = _mm_add_epi16(_mm256_castsi256_si128(odd), _mm256_extracti128_si256(odd, 1));
    put(out, _mm_unpacklo_epi16(e, o), first);
    put(out + 8, _mm_unpackhi_epi16(e, o), first);
  }
};

}  // namespace

void nibbles_4x32_avx2(const NibbleTile& t) {
  int b = 0;
  for (; t.blocks - b >= 2; b += 2) columns<Block, 2>(t, b);
  if (t.blocks - b) columns<Block, 1>(t, b);
}

void pack_pairs_avx2(const uint8_t* from, int64_t count, uint8_t* to) {
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m256i codes = Block::load(from + i);
    const __m256i two = _mm256_maddubs_epi16(codes, _mm256_set1_epi16(0x0401));
    const __m256i four = _mm256_madd_epi16(two, _mm256_set1_epi32(0x00100001));
    const __m256i pick = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4,
                                          8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i bytes = _mm256_shuffle_epi8(four, pick);
    const auto low = static_cast<uint32_t>(_mm256_extract_epi32(bytes, 0)),
               high = static_cast<uint32_t>(_mm256_extract_epi32(bytes, 4));
    __builtin_memcpy(to + i / 4, &low, 4);
    __builtin_memcpy(to + i / 4 + 4, &high, 4);
  }
  pack_pairs_reference(from + i, count - i, to + i / 4);
}

}  // namespace lowbit
