#include "ops/direct/params.h"
#include "ops/lanes.h"

namespace lowbit {

void direct_i32_1x1_portable(const DirectTile& t) {
  const int terms = (t.w_terms + (t.ones ? 1 : 0)) * t.x_terms;
  for (int p = 0; p < t.pixels; ++p) {
    for (int lane = 0; lane < t.lanes; ++lane) {
      const uint8_t* w = t.w + int64_t(lane) * t.inner * t.taps;
      int32_t* out = t.out + p * t.stride + lane;
      const auto add = [&](int term, int32_t value) {
        uint32_t sum = static_cast<uint32_t>(out[term * t.term_stride]);
        out[term * t.term_stride] = static_cast<int32_t>(sum + static_cast<uint32_t>(value));
      };
      for (int term = 0; term < terms; ++term) out[term * t.term_stride] = 0;
      for (int tap = 0; tap < t.taps; ++tap) {
        const uint8_t* x = t.x[tap * TILE_PIXELS + p];
        if (!x) continue;
        for (int c = 0; c < t.inner; ++c) {
          const int code = w[int64_t(c) * t.taps + tap];
          for (int xt = 0; xt < t.x_terms; ++xt) {
            const int32_t ux = t.x_units[xt * t.x_codes + x[t.offset + c]];
            if (t.w_units) {
              for (int wt = 0; wt < t.w_terms; ++wt)
                add(wt * t.x_terms + xt, t.w_units[wt * t.w_codes + code] * ux);
            } else {
              add(code * t.x_terms + xt, ux);
            }
            if (t.ones) add(t.w_terms * t.x_terms + xt, ux);
          }
        }
      }
    }
  }
}

// Sixteen partial sums: shorter chains of roundings than one running sum, so the error stays below K * 2^-24
// * sum|w x|.
void float_direct_1x1_portable(const FloatTile& t) {
  for (int p = 0; p < t.pixels; ++p) {
    for (int lane = 0; lane < t.lanes; ++lane) {
      const float* w = t.w + int64_t(lane) * t.inner * t.taps;
      F16 sums = {};
      for (int tap = 0; tap < t.taps; ++tap, w += t.inner) {
        const float* x = t.x[tap * TILE_PIXELS + p];
        if (!x) continue;
        x += t.offset;
        int c = 0;
        for (; c + LANES <= t.inner; c += LANES) sums += load<F16>(x + c) * load<F16>(w + c);
        for (; c < t.inner; ++c) sums[c % LANES] += x[c] * w[c];
      }
      float total = 0;
      for (int i = 0; i < LANES; ++i) total += sums[i];
      t.out[p * t.stride + lane] = total;
    }
  }
}

}  // namespace lowbit
