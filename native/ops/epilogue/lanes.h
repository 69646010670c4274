// The epilogue on 16-lane vectors, N pixels of one block at a time, so that each stage's constants are loaded
// once. Every float operation is one rounded operation, in the order of runtime/reference.py.
#pragma once

#include "ops/epilogue/params.h"
#include "ops/epilogue/quantize.h"
#include "ops/lanes.h"

namespace lowbit {
namespace {

// N pixels of which the first `valid` are there; WHOLE: all of them, and 16 channels.
template <int N, bool WHOLE, class T, class Make>
LOWBIT_INLINE void store_rows(T* to, int64_t stride, int lanes, int valid, Make make) {
  if constexpr (WHOLE) {
    LOWBIT_EACH(n, N) store(to + n * stride, make(n));
  } else {
    LOWBIT_EACH(n, N) if (n < valid) store(to + n * stride, make(n), lanes);
  }
}

// The row of data of pixel n. What lies beyond the last one is not even computed with: integers read as
// floats are denormal, and slow.
template <bool WHOLE, class T>
LOWBIT_INLINE T* row_of(T* data, int64_t stride, int n, int valid) {
  return data + (WHOLE ? n : smaller(n, valid - 1)) * stride;
}

// The sign or the bits of falling channels.
template <int N>
LOWBIT_INLINE void flip_lanes(const Stage& s, int c, F16* f) {
  if (!s.flip) return;
  const I16 flip = s.step ? load<I16>(s.flip + c) : splat(s.flip[0]);
  LOWBIT_EACH(n, N) f[n] = (F16)((I16)f[n] ^ flip);
}

// The values of N pixels, accumulators as their bits at first, codes as theirs at last.
template <int N, bool WHOLE>
LOWBIT_INLINE void stage_lanes(const EpilogueTile& e, const Stage& s, const int32_t* data, int64_t first,
                               int column, int valid, F16* f) {
  const int c = e.channel + column, lanes = smaller(LANES, e.channels - column);
  const int64_t ca = int64_t(c) * s.step;
  switch (s.kind) {
    case Stage::rescale: {
      const F16 a0 = s.step ? load<F16>(s.a + ca) : splat(s.a[0]);
      LOWBIT_EACH(n, N) f[n] = to_float((I16)f[n]) * a0;
      for (int term = 1; term < e.terms; ++term) {
        const F16 at = s.step ? load<F16>(s.a + term * s.stride + ca) : splat(s.a[term * s.stride]);
        LOWBIT_EACH(n, N)
        f[n] = f[n] +
               to_float(load<I16>(row_of<WHOLE>(data, e.row_stride, n, valid) + term * e.term_stride)) * at;
      }
      if (s.b) {
        const F16 b = load<F16>(s.b + c);
        LOWBIT_EACH(n, N) f[n] = f[n] + b;
      }
      break;
    }
    case Stage::dequantize:
      LOWBIT_EACH(n, N) f[n] = to_float((I16)f[n]) * s.p0;
      break;
    case Stage::affine: {
      const F16 a = load<F16>(s.a + c), b = load<F16>(s.b + c);
      LOWBIT_EACH(n, N) f[n] = f[n] * a;
      LOWBIT_EACH(n, N) f[n] = f[n] + b;
      break;
    }
    case Stage::clip: {
      const F16 low = splat(s.p0), high = splat(s.p1);
      LOWBIT_EACH(n, N) f[n] = select(f[n] < low, low, select(f[n] > high, high, f[n]));
      break;
    }
    case Stage::hardswish: {
      const F16 zero = {}, six = zero + 6.0f;
      LOWBIT_EACH(n, N) {
        F16 gate = f[n] + 3.0f;
        gate = select(gate < zero, zero, gate);
        gate = select(gate > six, six, gate);
        f[n] = f[n] * gate / 6.0f;
      }
      break;
    }
    case Stage::leaky: {
      const F16 zero = {};
      LOWBIT_EACH(n, N) f[n] = select(f[n] > zero, f[n], f[n] * s.p0);
      break;
    }
    case Stage::quantize:
      LOWBIT_EACH(n, N) f[n] = (F16)quantize_lanes(f[n], s);
      break;
    case Stage::sign: {
      const F16 zero = {};
      LOWBIT_EACH(n, N) f[n] = (F16)((f[n] >= zero) & 1);
      break;
    }
    case Stage::add:
      LOWBIT_EACH(n, N) {
        const float* addend = e.addend + first + n * e.sink.channels;
        if constexpr (WHOLE) {
          f[n] = f[n] + load<F16>(addend);
        } else {
          if (n < valid) f[n] = f[n] + load_some<F16>(addend, lanes);
        }
      }
      break;
    case Stage::keep:
      store_rows<N, WHOLE>(e.sink.floats + first, e.sink.channels, lanes, valid,
                           [&](int n) __attribute__((always_inline)) { return f[n]; });
      break;
    case Stage::threshold_i: {
      // x <= t is ~x >= ~t, so a falling channel compares flipped bits with flipped thresholds.
      I16 code[N];
      flip_lanes<N>(s, c, f);
      LOWBIT_EACH(n, N) code[n] = (I16){};
      for (int k = 0; k < s.levels; ++k) {
        const I16 t = s.step ? load<I16>(s.t + k * s.stride + c) : splat(s.t[k * s.stride]);
        LOWBIT_EACH(n, N) code[n] = count_reached(code[n], (I16)f[n], t);
      }
      LOWBIT_EACH(n, N) f[n] = (F16)code[n];
      break;
    }
    case Stage::threshold_f: {
      // x <= t is -x >= -t; equal zeros of different sign stay equal, NaN compares false either way.
      I16 code[N];
      flip_lanes<N>(s, c, f);
      LOWBIT_EACH(n, N) code[n] = (I16){};
      for (int k = 0; k < s.levels; ++k) {
        const I16 bits = s.step ? load<I16>(s.t + k * s.stride + c) : splat(s.t[k * s.stride]);
        LOWBIT_EACH(n, N) code[n] = count_reached(code[n], f[n], (F16)bits);
      }
      LOWBIT_EACH(n, N) f[n] = (F16)code[n];
      break;
    }
  }
}

// Bits [c, c + lanes) of every plane of `valid` pixels, from pixel on.
template <int N, bool WHOLE>
LOWBIT_INLINE void store_planes(const Sink& sink, int64_t pixel, int c, int lanes, int valid, F16* f) {
  if (!WHOLE && lanes < LANES) {
    LOWBIT_EACH(n, N) {
      int32_t some[LANES] = {};
      store(some, (I16)f[n], lanes);
      f[n] = (F16)load<I16>(some);
    }
  }
  // uint32 planes[p][c / 32][j], bits c % 32 and up; the last half word of a pixel clears what it does not
  // fill.
  const int64_t size = 4 * int64_t(sink.plane_words) * sink.plane_count;
  uint8_t* word = reinterpret_cast<uint8_t*>(sink.planes) + pixel * size +
                  4 * (c / 32) * int64_t(sink.plane_count) + c / 16 % 2 * 2;
  const bool alone = c / 16 % 2 == 0 && c + LANES >= sink.channels;
  for (int j = 0; j < sink.plane_count; ++j, word += 4) {
    if (alone) {
      LOWBIT_EACH(n, N) {
        const uint32_t bits = plane16((I16)f[n], j);
        if (WHOLE || n < valid) __builtin_memcpy(word + n * size, &bits, 4);
      }
    } else {
      LOWBIT_EACH(n, N) {
        const uint16_t bits = plane16((I16)f[n], j);
        if (WHOLE || n < valid) __builtin_memcpy(word + n * size, &bits, 2);
      }
    }
  }
}

// Channels [c, c + lanes) of `valid` pixels, from pixel on, to an image.
template <int N>
LOWBIT_INLINE void store_image(const Sink& sink, int64_t pixel, int c, int lanes, int valid, F16* f) {
  float* to = sink.image + c * sink.pixels + pixel;
  if constexpr (N == LANES) {
    transpose16(f);
    const auto channel = [&](int i) __attribute__((always_inline)) { return f[i]; };
    if (valid == LANES && lanes == LANES) {
      store_rows<N, true>(to, sink.pixels, LANES, LANES, channel);
    } else {
      store_rows<N, false>(to, sink.pixels, valid, lanes, channel);
    }
  } else {
    float rows[N][LANES];
    LOWBIT_EACH(n, N) store(rows[n], f[n]);
#if defined(__SSE2__)
    if constexpr (N == 4) {
      if (valid == 4 && lanes == LANES) {
        LOWBIT_EACH(i, 4) {
          __m128 a = _mm_loadu_ps(rows[0] + 4 * i), b = _mm_loadu_ps(rows[1] + 4 * i),
                 c = _mm_loadu_ps(rows[2] + 4 * i), d = _mm_loadu_ps(rows[3] + 4 * i);
          _MM_TRANSPOSE4_PS(a, b, c, d);
          _mm_storeu_ps(to + (4 * i + 0) * sink.pixels, a);
          _mm_storeu_ps(to + (4 * i + 1) * sink.pixels, b);
          _mm_storeu_ps(to + (4 * i + 2) * sink.pixels, c);
          _mm_storeu_ps(to + (4 * i + 3) * sink.pixels, d);
        }
        return;
      }
    }
#endif
    for (int i = 0; i < lanes; ++i) LOWBIT_EACH(n, N) if (n < valid) to[i * sink.pixels + n] = rows[n][i];
  }
}

// N pixels from p on, whose data starts at row `row`.
template <int N, bool WHOLE>
LOWBIT_INLINE void block_lanes(const EpilogueTile& e, int p, int row, int column, int valid) {
  const int lanes = WHOLE ? LANES : smaller(LANES, e.channels - column), c = e.channel + column;
  const Sink sink = e.sink;
  const int64_t pixel = e.pixel + p, first = pixel * sink.channels + c;
  F16 f[N];
  int32_t* data = e.data + column + row * e.row_stride;
  const auto at = [&](int n, int term) __attribute__((always_inline)) {
    return row_of<WHOLE>(data, e.row_stride, n, valid) + term * e.term_stride;
  };
  LOWBIT_EACH(n, N) f[n] = load<F16>(at(n, 0));
  for (int term = e.finish ? e.terms - 1 : -1; term >= 0; --term) {
    const Finish to = e.finish[term];
    if (term) LOWBIT_EACH(n, N) f[n] = load<F16>(at(n, term));
    // acc = s * d + corr + t * sum, wrapping
    const uint32_t factor = static_cast<uint32_t>(to.s);
    if (factor != 1) LOWBIT_EACH(n, N) f[n] = (F16)((U16)f[n] * factor);
    if (to.corr && to.at) {
      const int32_t* rows = to.at + pixel;
      LOWBIT_EACH(n, N)
      f[n] = (F16)((U16)f[n] + load<U16>(to.corr + *row_of<WHOLE>(rows, 1, n, valid) + c));
    } else if (to.corr) {
      const U16 corr = load<U16>(to.corr + c);
      LOWBIT_EACH(n, N) f[n] = (F16)((U16)f[n] + corr);
    }
    if (to.sum) LOWBIT_EACH(n, N)
    f[n] = (F16)((U16)f[n] + static_cast<uint32_t>(*row_of<WHOLE>(to.sum + p, 1, n, valid)) *
                                 static_cast<uint32_t>(to.t));
    if (e.terms > 1 || sink.acc) LOWBIT_EACH(n, N) if (n < valid) store(at(n, term), f[n]);
    if (term == 1) LOWBIT_EACH(n, N) f[n] = load<F16>(at(n, 0));
  }
  for (int s = 0; s < e.stage_count; ++s)
    stage_lanes<N, WHOLE>(e, e.stages[s], data, first, column, valid, f);
  const auto value = [&](int n) __attribute__((always_inline)) { return f[n]; };
  const auto code = [&](int n) __attribute__((always_inline)) { return narrow((I16)f[n]); };
  if (sink.codes) store_rows<N, WHOLE>(sink.codes + first, sink.channels, lanes, valid, code);
  if (sink.planes) store_planes<N, WHOLE>(sink, pixel, c, lanes, valid, f);
  if (sink.codes || sink.planes) return;
  if (sink.floats) store_rows<N, WHOLE>(sink.floats + first, sink.channels, lanes, valid, value);
  if (sink.image) store_image<N>(sink, pixel, c, lanes, valid, f);
  if (!sink.acc) return;
  for (int term = 0; term < e.terms; ++term)
    store_rows<N, WHOLE>(sink.acc + term * sink.term_size + first, sink.channels, lanes, valid,
                         [&](int n) __attribute__((always_inline)) { return load<I16>(at(n, term)); });
}

template <int N>
LOWBIT_INLINE void some_lanes(const EpilogueTile& e, int p, int row, int column, int valid) {
  if (valid == N && e.channels - column >= LANES) {
    block_lanes<N, true>(e, p, row, column, N);
  } else {
    block_lanes<N, false>(e, p, row, column, valid);
  }
}

LOWBIT_INLINE void epilogue_lanes(const EpilogueTile& e) {
  for (int column = 0; column < e.channels; column += LANES) {
    int p = 0;
    for (int s = 0; s < (e.spans ? e.span_count : 1); ++s) {
      const Span span = e.spans ? e.spans[s] : Span{0, e.pixels};
      const int stop = p + span.count, ahead = span.row - p;
      while (p < stop) {
#if defined(__AVX512F__)
        // Rows of an image start at whole cache lines wherever its size allows it.
        const int some = e.sink.image ? LANES - static_cast<int>((e.pixel + p) % LANES) : LANES;
        const int valid = smaller(some, stop - p);
        if (valid > 8) {
          some_lanes<LANES>(e, p, ahead + p, column, valid);
        } else if (valid > 4) {
          some_lanes<8>(e, p, ahead + p, column, valid);
        } else {
          some_lanes<4>(e, p, ahead + p, column, valid);
        }
#else
        const int valid = stop - p >= 4 ? 4 : 1;
        if (valid == 4) {
          some_lanes<4>(e, p, ahead + p, column, 4);
        } else {
          block_lanes<1, false>(e, p, ahead + p, column, 1);
        }
#endif
        p += valid;
      }
    }
  }
}

}  // namespace
}  // namespace lowbit
