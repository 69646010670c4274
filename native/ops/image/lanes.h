// 16 channels of 16 pixels at a time: pixels in the lanes while codes are made, then a transposition of
// bytes.
#pragma once

#include "ops/epilogue/lanes.h"
#include "ops/image/params.h"

namespace lowbit {
namespace {

constexpr int64_t NEAR = 64;  // pixels whose codes stay in the cache until all channels are there

LOWBIT_INLINE bool any_of(const I16& bad) {
  int32_t any = 0;
  for (int i = 0; i < LANES; ++i) any |= bad[i];
  return any != 0;
}

// codes[i] = code of channel c + i at pixels p.., for 4 channels; what is not there is 0.
template <bool WHOLE>
LOWBIT_INLINE void code_rows(const ImageTile& t, int64_t p, int c, int pixels, B16* codes, I16& bad) {
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
  for (int i = 0; i < 4; ++i) codes[i] = narrow((I16)f[i]);
  for (int i = rows; i < 4; ++i) codes[i] = (B16){};
}

LOWBIT_INLINE void image_block(const ImageTile& t, int64_t p, int c, int pixels, I16& bad) {
  B16 codes[LANES] = {};
  const int lanes = smaller(LANES, t.channels - c);
  if (lanes == LANES && pixels == LANES) {
    for (int i = 0; i < LANES; i += 4) code_rows<true>(t, p, c + i, pixels, codes + i, bad);
  } else {
    for (int i = 0; i < lanes; i += 4) code_rows<false>(t, p, c + i, pixels, codes + i, bad);
  }
  transpose16(codes);
  if (t.sink.codes)
    for (int n = 0; n < pixels; ++n) store(t.sink.codes + (p + n) * t.sink.channels + c, codes[n], lanes);
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

// Codes of 16 pixels of up to 4 channels: two interleavings instead of a whole transposition. A pixel's four
// bytes are stored at once, and the next pixel overwrites what is too much of them.
LOWBIT_INLINE void narrow_block(const ImageTile& t, int64_t p, int pixels, I16& bad) {
  B16 r[4];
  if (t.channels == 4 && pixels == LANES) {
    code_rows<true>(t, p, 0, pixels, r, bad);
  } else {
    code_rows<false>(t, p, 0, pixels, r, bad);
  }
  const B16 low = __builtin_shufflevector(r[0], r[1], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
            high = __builtin_shufflevector(r[0], r[1], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                           15, 31),
            low2 =
                __builtin_shufflevector(r[2], r[3], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
            high2 = __builtin_shufflevector(r[2], r[3], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                            15, 31);
  uint8_t four[4 * LANES];
  store(four, __builtin_shufflevector(low, low2, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23));
  store(four + 16,
        __builtin_shufflevector(low, low2, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31));
  store(four + 32,
        __builtin_shufflevector(high, high2, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23));
  store(four + 48,
        __builtin_shufflevector(high, high2, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31));
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
