// Pools on 16-lane vectors, channels in the lanes.
#pragma once

#include "ops/lanes.h"
#include "ops/pool/params.h"

namespace lowbit {
namespace {

// for (row, column in the window, row by row) v = step(v, x[row][column][c]);
template <class V, class T, class Step>
LOWBIT_INLINE V walk_window(const PoolWindow& w, int64_t c, int lanes, Step step) {
  const T* x = static_cast<const T*>(w.x);
  V v = {};
  bool first = true;
  for (int64_t i = 0; i < w.rows; ++i) {
    const T* p = x + ((w.row + i * w.row_step) * w.width + w.column) * w.channels + c;
    for (int64_t j = 0; j < w.columns; ++j, p += w.column_step * w.channels) {
      v = step(v, p, lanes, first);
      first = false;
    }
  }
  return v;
}

LOWBIT_INLINE int lanes_at(const PoolWindow& w, int64_t c) {
  return w.channels - c < LANES ? static_cast<int>(w.channels - c) : LANES;
}

LOWBIT_INLINE F16 max_with_nan(const PoolWindow& w, int64_t c) {
  return walk_window<F16, float>(
      w, c, lanes_at(w, c), [](F16 v, const float* p, int lanes, bool first) __attribute__((always_inline)) {
        const F16 x = load_some<F16>(p, lanes);
        // v = x > v or x is NaN ? x : v;
        return first ? x : select((x > v) | (x != x), x, v);
      });
}

// The same of several blocks from channel c on, one operation a number: where the sum is no NaN, no x was.
template <int BLOCKS>
LOWBIT_INLINE void max_blocks(const PoolWindow& w, int64_t c, int32_t* out) {
  const float* x = static_cast<const float*>(w.x) + (w.row * w.width + w.column) * w.channels + c;
  const int64_t down = w.row_step * w.width * w.channels, right = w.column_step * w.channels;
  F16 v[BLOCKS], sum[BLOCKS];
  LOWBIT_EACH(b, BLOCKS) v[b] = sum[b] = load<F16>(x + b * LANES);
  for (int64_t i = 0; i < w.rows; ++i, x += down) {
    const float* p = x;
    for (int64_t j = 0; j < w.columns; ++j, p += right) {
      LOWBIT_EACH(b, BLOCKS) {
        const F16 next = load<F16>(p + b * LANES);
        v[b] = larger(next, v[b]);
        sum[b] = sum[b] + next;
      }
    }
  }
  LOWBIT_EACH(b, BLOCKS) {
    if (any_of(sum[b] != sum[b])) v[b] = max_with_nan(w, c + b * LANES);
    store(out + c + b * LANES, v[b]);
  }
}

LOWBIT_INLINE void pool_max_floats(const PoolWindow& w, int32_t* out) {
  int64_t c = 0;
  if (w.rows * w.columns > 0) {
    for (; w.channels - c >= 4 * LANES; c += 4 * LANES) max_blocks<4>(w, c, out);
    for (; w.channels - c >= LANES; c += LANES) max_blocks<1>(w, c, out);
  }
  for (; c < w.channels; c += LANES) store(out + c, max_with_nan(w, c));
}

LOWBIT_INLINE void pool_max_codes(const PoolWindow& w, int32_t* out) {
  for (int64_t c = 0; c < w.channels; c += LANES) {
    const B16 v = walk_window<B16, uint8_t>(
        w, c, lanes_at(w, c), [](B16 v, const uint8_t* p, int lanes, bool) __attribute__((always_inline)) {
          const B16 x = load_some<B16>(p, lanes);
          return x > v ? x : v;
        });
    store(out + c, widen(v));
  }
}

LOWBIT_INLINE void pool_mean_floats(const PoolWindow& w, int32_t* out) {
  for (int64_t c = 0; c < w.channels; c += LANES) {
    const F16 v = walk_window<F16, float>(
        w, c, lanes_at(w, c),
        [](F16 v, const float* p, int lanes, bool first) __attribute__((always_inline)) {
          const F16 x = load_some<F16>(p, lanes);
          return first ? x : v + x;  // not 0 + x, which would lose the sign of -0
        });
    store(out + c, v / w.count);
  }
}

LOWBIT_INLINE void pool_mean_codes(const PoolWindow& w, int32_t* out) {
  const int64_t n = w.rows * w.columns;
  if (w.affine && n <= 32768) {  // |units| <= 2^15: sums stay within 2^30
    for (int64_t c = 0; c < w.channels; c += LANES) {
      const I16 sum = walk_window<I16, uint8_t>(
          w, c, lanes_at(w, c), [](I16 v, const uint8_t* p, int lanes, bool) __attribute__((always_inline)) {
            return v + widen(load_some<B16>(p, lanes));
          });
      const I16 units = sum * w.slope + w.first * static_cast<int32_t>(n);
      store(out + c, to_float(units) * w.scales[0] / w.count);
    }
    return;
  }
  const uint8_t* x = static_cast<const uint8_t*>(w.x);
  for (int64_t c = 0; c < w.channels; ++c) {
    float total = 0;
    for (int term = 0; term < w.terms; ++term) {
      int64_t sum = 0;
      for (int64_t i = 0; i < w.rows; ++i)
        for (int64_t j = 0; j < w.columns; ++j)
          sum += w.units[term * w.codes +
                         x[((w.row + i * w.row_step) * w.width + w.column + j * w.column_step) * w.channels +
                           c]];
      const float scaled = static_cast<float>(sum) * w.scales[term];
      total = term ? total + scaled : scaled;
    }
    total = total / w.count;
    __builtin_memcpy(out + c, &total, 4);
  }
}

}  // namespace
}  // namespace lowbit
