// 16 channels of 16 pixels at a time: pixels in the lanes while codes are made, then a transposition.
#pragma once

#include "ops/epilogue/lanes.h"
#include "ops/image/params.h"
#include "ops/quads.h"

namespace lowbit {
namespace {

constexpr int64_t NEAR = 64;  // pixels whose codes stay in the cache until all channels are there

// Codes of channels c .. c + 3 at pixels p..; what is not there is 0. `largest` are the bits of the largest
// magnitude so far, which NaN and infinity exceed.
template <bool WHOLE>
LOWBIT_INLINE void four_codes(const ImageTile& t, int64_t p, int c, int pixels, I16* codes, I16& largest) {
  const I16 magnitude = splat(0x7FFFFFFF);
  const EpilogueTile e{};
  F16 f[4] = {};
  const int rows = WHOLE ? 4 : smaller(4, t.channels - c);
  const float* x = t.x + c * t.all + p;
  for (int i = 0; i < 4; ++i) {
    if (i >= rows) break;
    f[i] = WHOLE ? load<F16>(x + i * t.all) : load_some<F16>(x + i * t.all, pixels);
    __builtin_prefetch(x + i * t.all + NEAR);
  }
  for (int i = 0; i < 4; ++i) largest = larger(largest, (I16)f[i] & magnitude);
  for (int s = 0; s < t.stage_count; ++s) stage_lanes<4, true>(e, t.stages[s], nullptr, 0, 0, 4, f);
  for (int i = 0; i < 4; ++i) codes[i] = i < rows ? (I16)f[i] : (I16){};
}

template <bool WHOLE>
LOWBIT_INLINE Quad code_quad(const ImageTile& t, int64_t p, int c, int pixels, I16& largest) {
  I16 codes[4];
  four_codes<WHOLE>(t, p, c, pixels, codes, largest);
  return quad(codes);
}

#if defined(__AVX512F__)
// A word of every plane for 16 pixels of 32 channels. A lane is a pixel: comparisons give the bits of one
// channel, which go to its place in all words at once, and nothing is transposed.
template <int PLANES>
LOWBIT_INLINE void word_block(const ImageTile& t, int64_t p, int c, int pixels, I16& largest) {
  const int lanes = smaller(32, t.channels - c);
  __m512i words[PLANES], bit = _mm512_set1_epi32(1);
  LOWBIT_EACH(j, PLANES) words[j] = _mm512_setzero_si512();
  for (int i = 0; i < lanes; i += 4) {
    I16 codes[4];
    if (pixels == LANES && lanes - i >= 4) {
      four_codes<true>(t, p, c + i, pixels, codes, largest);
    } else {
      four_codes<false>(t, p, c + i, pixels, codes, largest);
    }
    LOWBIT_EACH(q, 4) {
      // words[j] |= (code >> j & 1) << (i + q);
      LOWBIT_EACH(j, PLANES) {
        const __mmask16 set = _mm512_test_epi32_mask((__m512i)codes[q], _mm512_set1_epi32(1 << j));
        words[j] = _mm512_mask_or_epi32(words[j], set, words[j], bit);
      }
      bit = _mm512_add_epi32(bit, bit);
    }
  }
  uint32_t some[PLANES][LANES];
  LOWBIT_EACH(j, PLANES) store(some[j], (I16)words[j]);
  uint32_t* to = t.sink.planes + (p * t.sink.plane_words + c / 32) * PLANES;
  for (int n = 0; n < pixels; ++n, to += t.sink.plane_words * PLANES)
    LOWBIT_EACH(j, PLANES) to[j] = some[j][n];
}

template <int PLANES>
LOWBIT_INLINE void word_blocks(const ImageTile& t, I16& largest) {
  for (int64_t near = 0; near < t.pixels; near += NEAR) {
    const int64_t stop = near + NEAR < t.pixels ? near + NEAR : t.pixels;
    for (int c = 0; c < t.channels; c += 32)
      for (int64_t p = near; p < stop; p += LANES)
        word_block<PLANES>(t, t.pixel + p, c, stop - p < LANES ? static_cast<int>(stop - p) : LANES, largest);
  }
}
#endif

LOWBIT_INLINE void image_block(const ImageTile& t, int64_t p, int c, int pixels, I16& largest) {
  Quad quads[LANES / 4] = {};
  const int lanes = smaller(LANES, t.channels - c);
  if (lanes == LANES && pixels == LANES) {
    LOWBIT_EACH(i, LANES / 4) quads[i] = code_quad<true>(t, p, c + 4 * i, pixels, largest);
  } else {
    LOWBIT_EACH(i, LANES / 4)
    if (4 * i < lanes) quads[i] = code_quad<false>(t, p, c + 4 * i, pixels, largest);
  }
  B16 codes[LANES];
  transpose_quads(quads, codes);
  if (t.sink.codes) {
    uint8_t* to = t.sink.codes + p * t.sink.channels + c;
    const int64_t stride = t.sink.channels;
    if (lanes == LANES && pixels == LANES) {
      LOWBIT_EACH(n, LANES) store(to + n * stride, codes[n]);
    } else {
      for (int n = 0; n < pixels; ++n) store(to + n * stride, codes[n], lanes);
    }
  }
  if (!t.sink.planes) return;
  const int words = t.sink.plane_words, planes = t.sink.plane_count;
  const bool alone = c / 16 % 2 == 0 && c + LANES >= t.channels;
  for (int n = 0; n < pixels; ++n) {
    uint8_t* word = reinterpret_cast<uint8_t*>(t.sink.planes) + 4 * (((p + n) * words + c / 32) * planes) +
                    c / 16 % 2 * 2;
    for (int j = 0; j < planes; ++j, word += 4) {
      const uint32_t bits = plane16(codes[n], j);
      __builtin_memcpy(word, &bits, alone ? 4 : 2);
    }
  }
}

// Codes of 16 pixels of up to 4 channels. A pixel's four bytes are stored at once, and the next pixel
// overwrites what is too much of them.
LOWBIT_INLINE void narrow_block(const ImageTile& t, int64_t p, int pixels, I16& largest) {
  uint8_t four[4 * LANES];
  store_quad(four, t.channels == 4 && pixels == LANES ? code_quad<true>(t, p, 0, pixels, largest)
                                                      : code_quad<false>(t, p, 0, pixels, largest));
  uint8_t* to = t.sink.codes + p * t.channels;
  for (int n = 0; n < pixels - 1; ++n) __builtin_memcpy(to + n * t.channels, four + 4 * n, 4);
  for (int c = 0; c < t.channels; ++c) to[(pixels - 1) * t.channels + c] = four[4 * (pixels - 1) + c];
}

LOWBIT_INLINE void image_blocks(const ImageTile& t, I16& largest) {
  // Below 3 channels four bytes would reach past the next pixel.
  if (t.channels >= 3 && t.channels <= 4 && !t.sink.planes) {
    for (int64_t p = 0; p < t.pixels; p += LANES)
      narrow_block(t, t.pixel + p, t.pixels - p < LANES ? static_cast<int>(t.pixels - p) : LANES, largest);
    return;
  }
#if defined(__AVX512F__)
  if (t.sink.planes && !t.sink.codes && t.sink.plane_count == 1) return word_blocks<1>(t, largest);
  if (t.sink.planes && !t.sink.codes && t.sink.plane_count == 2) return word_blocks<2>(t, largest);
#endif
  for (int64_t near = 0; near < t.pixels; near += NEAR) {
    const int64_t stop = near + NEAR < t.pixels ? near + NEAR : t.pixels;
    for (int c = 0; c < t.channels; c += LANES)
      for (int64_t p = near; p < stop; p += LANES)
        image_block(t, t.pixel + p, c, stop - p < LANES ? static_cast<int>(stop - p) : LANES, largest);
  }
}

LOWBIT_INLINE bool image_lanes(const ImageTile& t) {
  I16 largest = {};
  image_blocks(t, largest);
  return any_of(largest >= splat(0x7F800000));
}

}  // namespace
}  // namespace lowbit
