// 16 channels of 16 pixels at a time: pixels in the lanes while codes are made, then a transposition of
// bytes.
#pragma once

#include "ops/epilogue/lanes.h"
#include "ops/image/params.h"

namespace lowbit {
namespace {

constexpr int64_t NEAR = 64;  // pixels whose codes stay in the cache until all channels are there

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
  for (int s = 0; s < t.stage_count; ++s) stage_lanes<4>(e, t.stages[s], nullptr, 0, 0, 4, f);
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

LOWBIT_INLINE bool image_lanes(const ImageTile& t) {
  I16 bad = {};
  for (int64_t near = 0; near < t.pixels; near += NEAR) {
    const int64_t stop = near + NEAR < t.pixels ? near + NEAR : t.pixels;
    for (int c = 0; c < t.channels; c += LANES)
      for (int64_t p = near; p < stop; p += LANES)
        image_block(t, t.pixel + p, c, stop - p < LANES ? static_cast<int>(stop - p) : LANES, bad);
  }
  int32_t any = 0;
  for (int i = 0; i < LANES; ++i) any |= bad[i];
  return any != 0;
}

}  // namespace
}  // namespace lowbit
