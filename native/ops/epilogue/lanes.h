// The epilogue on 16-lane vectors, N pixels of one block at a time, so that each stage's constants are loaded
// once. Every float operation is one rounded operation, in the order of runtime/reference.py.
#pragma once

#include "ops/epilogue/params.h"
#include "ops/lanes.h"

namespace lowbit {
namespace {

// rint, ties to even, for |v| <= 2^20: adding 1.5 * 2^23 leaves no room for fraction bits, so the addition
// itself rounds.
LOWBIT_INLINE F16 round_even(F16 v) {
  const float magic = 12582912.0f;
  return (v + magic) - magic;
}

// clip(rint(v / p0 - p1) + p2, p3, p4) - p3. The quotient is cut to +-2^20 first: codes and zeros are below
// 2^17, so what is cut ends in the same code. NaN becomes the lowest code.
LOWBIT_INLINE I16 quantize_lanes(F16 v, const Stage& s) {
  const F16 far = splat(1048576.0f), low = splat(s.p3), high = splat(s.p4);
  F16 q = v / s.p0;
  if (s.p1 != 0) q = q - s.p1;
  q = q > -far ? q : -far;
  q = q < far ? q : far;
  F16 code = round_even(q) + s.p2;
  code = code > low ? code : low;
  code = code < high ? code : high;
  return __builtin_convertvector(code - low, I16);
}

// First number of pixel p's data in a column.
LOWBIT_INLINE int32_t* data_at(const EpilogueTile& e, int p, int column) {
  return e.data + (e.rows ? e.rows[p] : p) * e.row_stride + column;
}

template <int N>
LOWBIT_INLINE void stage_lanes(const EpilogueTile& e, const Stage& s, int p, int column, F16* f, I16* v) {
  const int c = e.channel + column;
  const int64_t ca = int64_t(c) * s.step;
  switch (s.kind) {
    case Stage::rescale: {
      const F16 a0 = s.step ? load<F16>(s.a + ca) : splat(s.a[0]);
      for (int n = 0; n < N; ++n) f[n] = __builtin_convertvector(v[n], F16) * a0;
      for (int term = 1; term < e.terms; ++term) {
        const F16 at = s.step ? load<F16>(s.a + term * s.stride + ca) : splat(s.a[term * s.stride]);
        for (int n = 0; n < N; ++n) {
          const int32_t* data = data_at(e, p + n, column) + term * e.term_stride;
          f[n] = f[n] + __builtin_convertvector(load<I16>(data), F16) * at;
        }
      }
      if (s.b) {
        const F16 b = load<F16>(s.b + c);
        for (int n = 0; n < N; ++n) f[n] = f[n] + b;
      }
      break;
    }
    case Stage::dequantize:
      for (int n = 0; n < N; ++n) f[n] = __builtin_convertvector(v[n], F16) * s.p0;
      break;
    case Stage::affine: {
      const F16 a = load<F16>(s.a + c), b = load<F16>(s.b + c);
      for (int n = 0; n < N; ++n) f[n] = f[n] * a;
      for (int n = 0; n < N; ++n) f[n] = f[n] + b;
      break;
    }
    case Stage::clip: {
      const F16 low = splat(s.p0), high = splat(s.p1);
      for (int n = 0; n < N; ++n) f[n] = f[n] < low ? low : (f[n] > high ? high : f[n]);
      break;
    }
    case Stage::hardswish: {
      const F16 zero = {}, six = zero + 6.0f;
      for (int n = 0; n < N; ++n) {
        F16 gate = f[n] + 3.0f;
        gate = gate < zero ? zero : gate;
        gate = gate > six ? six : gate;
        f[n] = f[n] * gate / 6.0f;
      }
      break;
    }
    case Stage::leaky: {
      const F16 zero = {};
      for (int n = 0; n < N; ++n) f[n] = f[n] > zero ? f[n] : f[n] * s.p0;
      break;
    }
    case Stage::quantize:
      for (int n = 0; n < N; ++n) v[n] = quantize_lanes(f[n], s);
      break;
    case Stage::sign: {
      const F16 zero = {};
      for (int n = 0; n < N; ++n) v[n] = (f[n] >= zero) & 1;
      break;
    }
    case Stage::threshold_i: {
      // x <= t is ~x >= ~t, so a falling channel compares flipped bits with flipped thresholds.
      const I16 flip = s.step ? load<I16>(s.flip + c) : splat(s.flip[0]);
      I16 code[N];
      for (int n = 0; n < N; ++n) {
        v[n] ^= flip;
        code[n] = (I16){};
      }
      for (int k = 0; k < s.levels; ++k) {
        const I16 t = s.step ? load<I16>(s.t + k * s.stride + c) : splat(s.t[k * s.stride]);
        for (int n = 0; n < N; ++n) code[n] = count_reached(code[n], v[n], t);
      }
      for (int n = 0; n < N; ++n) v[n] = code[n];
      break;
    }
    case Stage::threshold_f: {
      // x <= t is -x >= -t; equal zeros of different sign stay equal, NaN compares false either way.
      const I16 flip = s.step ? load<I16>(s.flip + c) : splat(s.flip[0]);
      I16 code[N];
      for (int n = 0; n < N; ++n) {
        f[n] = (F16)((I16)f[n] ^ flip);
        code[n] = (I16){};
      }
      for (int k = 0; k < s.levels; ++k) {
        const I16 bits = s.step ? load<I16>(s.t + k * s.stride + c) : splat(s.t[k * s.stride]);
        for (int n = 0; n < N; ++n) code[n] = count_reached(code[n], f[n], (F16)bits);
      }
      for (int n = 0; n < N; ++n) v[n] = code[n];
      break;
    }
  }
}

LOWBIT_INLINE void store_codes(const EpilogueTile& e, int64_t p, int c, int lanes, I16 v) {
  if (e.sink.codes) store(e.sink.codes + p * e.sink.channels + c, __builtin_convertvector(v, B16), lanes);
  if (!e.sink.planes) return;
  for (int i = lanes; i < LANES; ++i) v[i] = 0;
  // uint32 planes[p][c / 32][j], bits c % 32 and up; the last half word of a pixel clears what it does not
  // fill.
  uint8_t* word = reinterpret_cast<uint8_t*>(e.sink.planes) +
                  4 * ((p * e.sink.plane_words + c / 32) * e.sink.plane_count) + (c / 16 % 2) * 2;
  const bool alone = c / 16 % 2 == 0 && c + LANES >= e.sink.channels;
  for (int j = 0; j < e.sink.plane_count; ++j, word += 4) {
    const uint32_t bits = plane16(v, j);
    if (alone) {
      __builtin_memcpy(word, &bits, 4);
    } else {
      __builtin_memcpy(word, &bits, 2);
    }
  }
}

template <int N>
LOWBIT_INLINE void block_lanes(const EpilogueTile& e, int p, int column) {
  const int lanes = smaller(LANES, e.channels - column), c = e.channel + column;
  F16 f[N];
  I16 v[N];
  if (e.finish) {
    for (int term = 0; term < e.terms; ++term) {
      const Finish& to = e.finish[term];
      for (int n = 0; n < N; ++n) {
        int32_t* row = data_at(e, p + n, column) + term * e.term_stride;
        // acc = s * d + corr + t * sum, wrapping
        U16 acc = load<U16>(row) * static_cast<uint32_t>(to.s);
        if (to.corr) acc += load<U16>(to.corr[p + n] + c);
        if (to.sum) acc += static_cast<uint32_t>(to.sum[p + n]) * static_cast<uint32_t>(to.t);
        store(row, acc);
      }
    }
  }
  for (int n = 0; n < N; ++n) {
    v[n] = load<I16>(data_at(e, p + n, column));
    f[n] = (F16)v[n];
  }
  for (int s = 0; s < e.stage_count; ++s) stage_lanes<N>(e, e.stages[s], p, column, f, v);
  for (int n = 0; n < N; ++n) {
    const int64_t pixel = e.pixel + p + n;
    if (e.sink.floats) {
      store(e.sink.floats + pixel * e.sink.channels + c, f[n], lanes);
    } else if (e.sink.acc) {
      for (int term = 0; term < e.terms; ++term)
        store(e.sink.acc + term * e.sink.term_size + pixel * e.sink.channels + c,
              load<I16>(data_at(e, p + n, column) + term * e.term_stride), lanes);
    } else {
      store_codes(e, pixel, c, lanes, v[n]);
    }
  }
}

LOWBIT_INLINE void epilogue_lanes(const EpilogueTile& e) {
  for (int column = 0; column < e.channels; column += LANES) {
    int p = 0;
    for (; e.pixels - p >= 4; p += 4) block_lanes<4>(e, p, column);
    for (; p < e.pixels; ++p) block_lanes<1>(e, p, column);
  }
}

}  // namespace
}  // namespace lowbit
