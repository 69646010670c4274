// vpdpbusd on weights that are unpacked in registers: for few pixels, where the time is that of reading the
// weights.
#include <immintrin.h>

#include "ops/lanes.h"
#include "ops/tile8/select.h"

namespace lowbit {
namespace {

// One row of a weight tile times 4 activations of P pixels.
template <int P>
LOWBIT_INLINE void multiply(const uint8_t* const* x, int64_t at, __m512i w, __m512i* acc) {
  for (int p = 0; p < P; ++p) {
    int32_t four;
    __builtin_memcpy(&four, x[p] + at, 4);
    // for (i = 0; i < 4; ++i) acc[lane] += x[at + i] * w[4 * lane + i];
    acc[p] = _mm512_dpbusd_epi32(acc[p], _mm512_set1_epi32(four), w);
  }
}

// Steps first, first + 1, .. of one block; two sets of sums hide the latency of a single pixel.
template <int BITS, int P>
LOWBIT_INLINE void step(const uint8_t* w, const uint8_t* const* x, int64_t at, __m512i table,
                        __m512i (*acc)[P]) {
  if constexpr (BITS == 8) {
    for (int row = 0; row < 16; ++row, at += 4)
      multiply<P>(x, at, _mm512_loadu_si512(w + 64 * row), acc[row % 2]);
  } else if constexpr (BITS == 1) {
    const __m512i zero = _mm512_shuffle_epi8(table, _mm512_setzero_si512());
    const __m512i one = _mm512_shuffle_epi8(table, _mm512_set1_epi8(1));
    for (int row = 0; row < 16; ++row, at += 4) {
      uint64_t mask;
      __builtin_memcpy(&mask, w + 8 * row, 8);
      multiply<P>(x, at, _mm512_mask_blend_epi8(mask, zero, one), acc[row % 2]);
    }
  } else {
    constexpr int PER = 8 / BITS;
    const __m512i mask = _mm512_set1_epi8((1 << BITS) - 1);
    for (int row = 0; row < 16; row += PER, w += 64) {
      __m512i v = _mm512_loadu_si512(w);
      for (int j = 0; j < PER; ++j, at += 4) {
        multiply<P>(x, at, _mm512_shuffle_epi8(table, _mm512_and_si512(v, mask)), acc[j % 2]);
        v = _mm512_srli_epi16(v, BITS);
      }
    }
  }
}

template <int BITS, int P>
__attribute__((noinline)) void pixels(const TileJob& t, const uint8_t* first, int32_t* out) {
  const __m512i table =
      _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128(reinterpret_cast<const __m128i*>(t.table)));
  const uint8_t* x[P];
  for (int p = 0; p < P; ++p) x[p] = first + p * t.row_bytes;
  const uint8_t* w = t.w;
  for (int b = 0; b < t.blocks; ++b) {
    __m512i acc[2][P];
    for (int p = 0; p < P; ++p) acc[0][p] = acc[1][p] = _mm512_setzero_si512();
    for (int k = 0; k < t.count; ++k, w += tile_bytes(BITS)) step<BITS, P>(w, x, t.steps[k], table, acc);
    for (int p = 0; p < P; ++p)
      _mm512_storeu_si512(out + p * t.stride + b * LANES, _mm512_add_epi32(acc[0][p], acc[1][p]));
  }
}

template <int BITS>
LOWBIT_INLINE void rows(const TileJob& t) {
  for (int tile = 0; tile < t.tiles; ++tile) {
    const uint8_t* x = t.x[tile];
    int32_t* out = t.out + tile * t.rows * t.stride;
    int p = 0;
    for (; t.rows - p >= 4; p += 4) pixels<BITS, 4>(t, x + p * t.row_bytes, out + p * t.stride);
    for (; p < t.rows; ++p) pixels<BITS, 1>(t, x + p * t.row_bytes, out + p * t.stride);
  }
}

}  // namespace

void tile8_u8s8_4x16_avx512vnni(const TileJob& t) {
  switch (t.bits) {
    case 1:
      return rows<1>(t);
    case 2:
      return rows<2>(t);
    case 4:
      return rows<4>(t);
    default:
      return rows<8>(t);
  }
}

}  // namespace lowbit
