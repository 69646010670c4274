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

// The values of N pixels, accumulators as their bits at first, codes as theirs at last.
template <int N>
LOWBIT_INLINE void stage_lanes(const EpilogueTile& e, const Stage& s, int32_t* const* data, int64_t pixel,
                               int column, int valid, F16* f) {
  const int c = e.channel + column, lanes = smaller(LANES, e.channels - column);
  const int64_t ca = int64_t(c) * s.step;
  switch (s.kind) {
    case Stage::rescale: {
      const F16 a0 = s.step ? load<F16>(s.a + ca) : splat(s.a[0]);
      for (int n = 0; n < N; ++n) f[n] = __builtin_convertvector((I16)f[n], F16) * a0;
      for (int term = 1; term < e.terms; ++term) {
        const F16 at = s.step ? load<F16>(s.a + term * s.stride + ca) : splat(s.a[term * s.stride]);
        for (int n = 0; n < N; ++n)
          f[n] = f[n] + __builtin_convertvector(load<I16>(data[n] + term * e.term_stride), F16) * at;
      }
      if (s.b) {
        const F16 b = load<F16>(s.b + c);
        for (int n = 0; n < N; ++n) f[n] = f[n] + b;
      }
      break;
    }
    case Stage::dequantize:
      for (int n = 0; n < N; ++n) f[n] = __builtin_convertvector((I16)f[n], F16) * s.p0;
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
      for (int n = 0; n < N; ++n) f[n] = (F16)quantize_lanes(f[n], s);
      break;
    case Stage::sign: {
      const F16 zero = {};
      for (int n = 0; n < N; ++n) f[n] = (F16)((f[n] >= zero) & 1);
      break;
    }
    case Stage::add:
      for (int n = 0; n < N; ++n)
        if (n < valid) f[n] = f[n] + load_some<F16>(e.addend + (pixel + n) * e.sink.channels + c, lanes);
      break;
    case Stage::keep:
      for (int n = 0; n < N; ++n)
        if (n < valid) store(e.sink.floats + (pixel + n) * e.sink.channels + c, f[n], lanes);
      break;
    case Stage::threshold_i: {
      // x <= t is ~x >= ~t, so a falling channel compares flipped bits with flipped thresholds.
      const I16 flip = s.step ? load<I16>(s.flip + c) : splat(s.flip[0]);
      I16 code[N];
      for (int n = 0; n < N; ++n) {
        f[n] = (F16)((I16)f[n] ^ flip);
        code[n] = (I16){};
      }
      for (int k = 0; k < s.levels; ++k) {
        const I16 t = s.step ? load<I16>(s.t + k * s.stride + c) : splat(s.t[k * s.stride]);
        for (int n = 0; n < N; ++n) code[n] = count_reached(code[n], (I16)f[n], t);
      }
      for (int n = 0; n < N; ++n) f[n] = (F16)code[n];
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
      for (int n = 0; n < N; ++n) f[n] = (F16)code[n];
      break;
    }
  }
}

LOWBIT_INLINE void store_codes(const EpilogueTile& e, int64_t p, int c, int lanes, I16 v) {
  if (e.sink.codes) store(e.sink.codes + p * e.sink.channels + c, narrow(v), lanes);
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

// Channels [c, c + lanes) of `valid` pixels, from pixel on, to an image.
template <int N>
LOWBIT_INLINE void store_image(const EpilogueTile& e, int64_t pixel, int c, int lanes, int valid, F16* f) {
  float* to = e.sink.image + c * e.sink.pixels + pixel;
  if constexpr (N == LANES) {
    transpose16(f);
    for (int i = 0; i < LANES; ++i)
      if (i < lanes) store(to + i * e.sink.pixels, f[i], valid);
  } else {
    for (int i = 0; i < lanes; ++i)
      for (int n = 0; n < valid; ++n) to[i * e.sink.pixels + n] = f[n][i];
  }
}

// N pixels from p on, of which `valid` are stored; the others only have to be readable.
template <int N>
LOWBIT_INLINE void block_lanes(const EpilogueTile& e, int p, int column, int valid) {
  const int lanes = smaller(LANES, e.channels - column), c = e.channel + column;
  F16 f[N];
  int32_t* data[N];
  // What lies beyond is not even computed with: integers read as floats are denormal, and slow.
  for (int n = 0; n < N; ++n)
    data[n] = e.data + column + (e.rows ? e.rows[p + n] : (n < valid ? p + n : p) * e.row_stride);
  for (int n = 0; n < N; ++n) f[n] = load<F16>(data[n]);
  for (int term = e.finish ? e.terms - 1 : -1; term >= 0; --term) {
    const Finish& to = e.finish[term];
    const int64_t at = term * e.term_stride;
    if (term)
      for (int n = 0; n < N; ++n) f[n] = load<F16>(data[n] + at);
    // acc = s * d + corr + t * sum, wrapping
    const uint32_t factor = static_cast<uint32_t>(to.s);
    if (factor != 1)
      for (int n = 0; n < N; ++n) f[n] = (F16)((U16)f[n] * factor);
    if (to.corr)
      for (int n = 0; n < N; ++n) f[n] = (F16)((U16)f[n] + load<U16>(to.corr[p + n] + c));
    if (to.sum)
      for (int n = 0; n < N; ++n)
        f[n] = (F16)((U16)f[n] + static_cast<uint32_t>(to.sum[p + n]) * static_cast<uint32_t>(to.t));
    if (e.terms > 1 || e.sink.acc)
      for (int n = 0; n < valid; ++n) store(data[n] + at, f[n]);
    if (term == 1)
      for (int n = 0; n < N; ++n) f[n] = load<F16>(data[n]);
  }
  const int64_t pixel = e.pixel + p;
  for (int s = 0; s < e.stage_count; ++s) stage_lanes<N>(e, e.stages[s], data, pixel, column, valid, f);
  if (e.sink.image || (e.sink.floats && !e.sink.codes && !e.sink.planes)) {
    if (e.sink.floats)
      for (int n = 0; n < valid; ++n) store(e.sink.floats + (pixel + n) * e.sink.channels + c, f[n], lanes);
    if (e.sink.image) store_image<N>(e, pixel, c, lanes, valid, f);
  } else if (e.sink.acc) {
    for (int term = 0; term < e.terms; ++term)
      for (int n = 0; n < valid; ++n)
        store(e.sink.acc + term * e.sink.term_size + (pixel + n) * e.sink.channels + c,
              load<I16>(data[n] + term * e.term_stride), lanes);
  } else {
    for (int n = 0; n < valid; ++n) store_codes(e, pixel + n, c, lanes, (I16)f[n]);
  }
}

LOWBIT_INLINE void epilogue_lanes(const EpilogueTile& e) {
  for (int column = 0; column < e.channels; column += LANES) {
    int p = 0;
#if defined(__AVX512F__)
    // Rows of an image start at whole cache lines wherever its size allows it.
    int some = e.sink.image ? LANES - static_cast<int>(e.pixel % LANES) : LANES;
    for (; e.pixels - p > 4; p += some, some = LANES)
      block_lanes<LANES>(e, p, column, smaller(some, e.pixels - p));
#endif
    for (; e.pixels - p >= 4; p += 4) block_lanes<4>(e, p, column, 4);
    for (; p < e.pixels; ++p) block_lanes<1>(e, p, column, 1);
  }
}

}  // namespace
}  // namespace lowbit
