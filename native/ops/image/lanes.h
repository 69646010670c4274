// 16 channels of 16 pixels at a time: pixels in the lanes while codes are made, then a transposition.
#pragma once

#include "ops/epilogue/lanes.h"
#include "ops/image/params.h"
#include "ops/quads.h"

namespace lowbit {
namespace {

constexpr int64_t NEAR = 64;  // pixels whose codes stay in the cache until all channels are there

// Codes of channels c .. c + 3 at pixels p..; what is not there is 0.
template <bool WHOLE>
LOWBIT_INLINE Quad code_quad(const ImageTile& t, int64_t p, int c, int pixels, I16& bad) {
  const I16 exponent = splat(0x7F800000);
  const EpilogueTile e{};
  F16 f[4] = {};
  const int rows = WHOLE ? 4 : smaller(4, t.channels - c);
  const float* x = t.x + c * t.all + p;
  for (int i = 0; i < 4; ++i) {
    if (i >= rows) break;
    f[i] = WHOLE ? load<F16>(x + i * t.all) : load_some<F16>(x + i * t.all, pixels);
    __builtin_prefetch(x + i * t.all + NEAR);
  }
  for (int i = 0; i < 4; ++i) bad |= ((I16)f[i] & exponent) == exponent;
  for (int s = 0; s < t.stage_count; ++s) stage_lanes<4, true>(e, t.stages[s], nullptr, 0, 0, 4, f);
  I16 codes[4];
  for (int i = 0; i < 4; ++i) codes[i] = i < rows ? (I16)f[i] : (I16){};
  return quad(codes);
}

LOWBIT_INLINE void image_block(const ImageTile& t, int64_t p, int c, int pixels, I16& bad) {
  Quad quads[LANES / 4] = {};
  const int lanes = smaller(LANES, t.channels - c);
  if (lanes == LANES && pixels == LANES) {
    LOWBIT_EACH(i, LANES / 4) quads[i] = code_quad<true>(t, p, c + 4 * i, pixels, bad);
  } else {
    LOWBIT_EACH(i, LANES / 4) if (4 * i < lanes) quads[i] = code_quad<false>(t, p, c + 4 * i, pixels, bad);
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
LOWBIT_INLINE void narrow_block(const ImageTile& t, int64_t p, int pixels, I16& bad) {
  uint8_t four[4 * LANES];
  store_quad(four, t.channels == 4 && pixels == LANES ? code_quad<true>(t, p, 0, pixels, bad)
                                                      : code_quad<false>(t, p, 0, pixels, bad));
  uint8_t* to = t.sink.codes + p * t.channels;
  for (int n = 0; n < pixels - 1; ++n) __builtin_memcpy(to + n * t.channels, four + 4 * n, 4);
  for (int c = 0; c < t.channels; ++c) to[(pixels - 1) * t.channels + c] = four[4 * (pixels - 1) + c];
}

LOWBIT_INLINE bool image_lanes(const ImageTile& t) {
  I16 bad = {};
  // Below 3 channels four bytes would reach past the next pixel.
  if (t.channels >= 3 && t.channels <= 4 && !t.sink.planes) {
    for (int64_t p = 0; p < t.pixels; p += LANES)
      narrow_block(t, t.pixel + p, t.pixels - p < LANES ? static_cast<int>(t.pixels - p) : LANES, bad);
    return any_of(bad);
  }
  for (int64_t near = 0; near < t.pixels; near += NEAR) {
    const int64_t stop = near + NEAR < t.pixels ? near + NEAR : t.pixels;
    for (int c = 0; c < t.channels; c += LANES)
      for (int64_t p = near; p < stop; p += LANES)
        image_block(t, t.pixel + p, c, stop - p < LANES ? static_cast<int>(stop - p) : LANES, bad);
  }
  return any_of(bad);
}

}  // namespace
}  // namespace lowbit
