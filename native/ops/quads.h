// Codes of 16 pixels, which come one channel a vector, taken apart by pixels: four channels at a time become
// the bytes of a lane, so that lanes are moved and not bytes.
#pragma once

#include "ops/lanes.h"

namespace lowbit {

#if defined(__AVX512F__)

typedef U16 Quad;  // lane p holds the codes of four channels of pixel p, the first channel lowest

LOWBIT_INLINE Quad quad(const I16* codes) {
  // codes[0] | codes[1] << 8 | codes[2] << 16 | codes[3] << 24
  return (U16)codes[0] | (U16)codes[1] << 8 | (U16)codes[2] << 16 | (U16)codes[3] << 24;
}

// bytes[4 p + i] = channel i of pixel p.
LOWBIT_INLINE void store_quad(uint8_t* bytes, const Quad& q) { store(bytes, q); }

// pixels[p][4 i + j] = channel j of quads[i] of pixel p.
LOWBIT_INLINE void transpose_quads(const Quad* quads, B16* pixels) {
  const __m512i q0 = (__m512i)quads[0], q1 = (__m512i)quads[1], q2 = (__m512i)quads[2],
                q3 = (__m512i)quads[3];
  const __m512i low = _mm512_unpacklo_epi32(q0, q1), high = _mm512_unpackhi_epi32(q0, q1),
                low2 = _mm512_unpacklo_epi32(q2, q3), high2 = _mm512_unpackhi_epi32(q2, q3);
  // 16 bytes l of vector j: pixel 4 l + j.
  const __m512i rows[4] = {_mm512_unpacklo_epi64(low, low2), _mm512_unpackhi_epi64(low, low2),
                           _mm512_unpacklo_epi64(high, high2), _mm512_unpackhi_epi64(high, high2)};
  LOWBIT_EACH(j, 4) {
    pixels[j] = (B16)_mm512_castsi512_si128(rows[j]);
    pixels[4 + j] = (B16)_mm512_extracti32x4_epi32(rows[j], 1);
    pixels[8 + j] = (B16)_mm512_extracti32x4_epi32(rows[j], 2);
    pixels[12 + j] = (B16)_mm512_extracti32x4_epi32(rows[j], 3);
  }
}

#else

struct Quad {
  B16 rows[4];
};

LOWBIT_INLINE Quad quad(const I16* codes) {
  return {{narrow(codes[0]), narrow(codes[1]), narrow(codes[2]), narrow(codes[3])}};
}

// Two interleavings instead of a whole transposition.
LOWBIT_INLINE void store_quad(uint8_t* bytes, const Quad& q) {
  const B16 *r = q.rows,
            low = __builtin_shufflevector(r[0], r[1], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
            high = __builtin_shufflevector(r[0], r[1], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                           15, 31),
            low2 =
                __builtin_shufflevector(r[2], r[3], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
            high2 = __builtin_shufflevector(r[2], r[3], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                            15, 31);
  store(bytes, __builtin_shufflevector(low, low2, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23));
  store(bytes + 16,
        __builtin_shufflevector(low, low2, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31));
  store(bytes + 32,
        __builtin_shufflevector(high, high2, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23));
  store(bytes + 48,
        __builtin_shufflevector(high, high2, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31));
}

LOWBIT_INLINE void transpose_quads(const Quad* quads, B16* pixels) {
  LOWBIT_EACH(i, 4) LOWBIT_EACH(j, 4) pixels[4 * i + j] = quads[i].rows[j];
  transpose16(pixels);
}

#endif

}  // namespace lowbit
