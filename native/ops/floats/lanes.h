// One source for every instruction set: 16 output channels are the lanes, an activation is broadcast to them.
#pragma once

#include "ops/floats/params.h"
#include "ops/lanes.h"

#define LOWBIT_MEMBER inline __attribute__((always_inline))
// Vectors indexed by a variable would live in memory.
#define LOWBIT_UNROLL _Pragma("GCC unroll 32")

namespace lowbit {
namespace {

// Vectors of one register: gcc 12 would keep wider ones in memory. A block of 16 channels is one, two or four
// of them.
#if defined(__AVX512F__)
constexpr int WIDTH = 16;
#elif defined(__AVX2__)
constexpr int WIDTH = 8;
#else
constexpr int WIDTH = 4;
#endif
constexpr int PARTS = LANES / WIDTH;
typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef int32_t Ints __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t Words __attribute__((vector_size(4 * WIDTH)));

// Units of the codes in the lowest bits of every lane; what is above them does not matter.
#if defined(__AVX512F__)
struct Table {
  explicit Table(const float* table) : units(_mm512_loadu_ps(table)) {}
  // value[lane] = table[w[lane] & 15], and the table repeats where there are fewer bits
  template <int BITS>
  LOWBIT_MEMBER Floats of(Words w) const {
    return (Floats)_mm512_permutexvar_ps((__m512i)w, units);
  }
  __m512 units;
};
#elif defined(__AVX2__)
struct Table {
  explicit Table(const float* table) : low(_mm256_loadu_ps(table)), high(_mm256_loadu_ps(table + 8)) {}
  // value[lane] = table[w[lane] & 15]: bit 3 chooses the half of the table
  template <int BITS>
  LOWBIT_MEMBER Floats of(Words w) const {
    const __m256 first = _mm256_permutevar8x32_ps(low, (__m256i)w);
    if (BITS < 4) return (Floats)first;
    const __m256 second = _mm256_permutevar8x32_ps(high, (__m256i)w);
    return (Floats)_mm256_blendv_ps(first, second, _mm256_castsi256_ps(_mm256_slli_epi32((__m256i)w, 28)));
  }
  __m256 low, high;
};
#else
struct Table {
  explicit Table(const float* table) : units(table) {}
  template <int BITS>
  LOWBIT_MEMBER Floats of(Words w) const {
    const Words codes = w & ((1u << BITS) - 1);
    Floats v;
    for (int i = 0; i < WIDTH; ++i) v[i] = units[codes[i]];
    return v;
  }
  const float* units;
};
#endif

// Where units are a straight line in the code: exact, since all are small integers.
template <bool FLAT>
struct Line {
  template <int BITS>
  LOWBIT_MEMBER Floats of(Words w) const {
    const Ints codes = (Ints)(w & ((1u << BITS) - 1));
    return __builtin_convertvector((FLAT ? codes : codes * slope) + first, Floats);
  }
  int32_t slope, first;
};

// P pixels by B vectors of channels; v0 counts vectors.
template <int BITS, int P, int B, class Units>
LOWBIT_INLINE void cell(const FloatsTile& t, const Units& units, int p0, int v0) {
  constexpr int PER = per_word(BITS);
  const int words = (t.inner + PER - 1) / PER;
  const uint32_t* w[B];
  Floats sums[P][B];
  LOWBIT_UNROLL for (int b = 0; b < B; ++b) {
    w[b] = t.w + (v0 + b) / PARTS * t.block_words + (v0 + b) % PARTS * WIDTH;
    LOWBIT_UNROLL for (int p = 0; p < P; ++p) sums[p][b] = Floats{};
  }
  int64_t at = 0;
  for (int tap = 0; tap < t.taps; ++tap) {
    const float* x[P];
    LOWBIT_UNROLL for (int p = 0; p < P; ++p) x[p] = t.x[tap * TILE_PIXELS + p0 + p] + t.offset;
    for (int word = 0; word < words; ++word, at += LANES) {
      Words codes[B];
      Floats parts[P][B];
      LOWBIT_UNROLL for (int b = 0; b < B; ++b) codes[b] = load<Words>(w[b] + at);
      const auto step = [&](int j, bool first) __attribute__((always_inline)) {
        LOWBIT_UNROLL for (int b = 0; b < B; ++b) {
          const Floats unit = units.template of<BITS>(codes[b]);
          codes[b] >>= BITS;
          // part = part + unit * x
          LOWBIT_UNROLL for (int p = 0; p < P; ++p) {
            const Floats product = unit * x[p][j];
            parts[p][b] = first ? product : parts[p][b] + product;
          }
        }
      };
      const int left = t.inner - word * PER;
      step(0, true);
      if (left >= PER) {
        LOWBIT_UNROLL for (int j = 1; j < PER; ++j) step(j, false);
      } else {
        for (int j = 1; j < left; ++j) step(j, false);
      }
      LOWBIT_UNROLL for (int p = 0; p < P; ++p) {
        x[p] += PER;
        LOWBIT_UNROLL for (int b = 0; b < B; ++b) sums[p][b] += parts[p][b];
      }
    }
  }
  LOWBIT_UNROLL for (int p = 0; p < P; ++p) LOWBIT_UNROLL for (int b = 0; b < B; ++b)
      store(t.out + (p0 + p) * t.stride + (v0 + b) * WIDTH, sums[p][b]);
}

template <int BITS, class Units>
__attribute__((noinline)) void walk(const FloatsTile& t, const Units& units) {
#if defined(__AVX512F__)
  constexpr int WIDE = 4, TALL = 4, TALL_WIDE = 2;
#else
  constexpr int WIDE = 2, TALL = 2, TALL_WIDE = 2;
#endif
  const int vectors = t.blocks * PARTS;
  int p = 0;
  for (; p + TALL <= t.pixels; p += TALL) {
    int v = 0;
    for (; v + TALL_WIDE <= vectors; v += TALL_WIDE) cell<BITS, TALL, TALL_WIDE>(t, units, p, v);
    for (; v < vectors; ++v) cell<BITS, TALL, 1>(t, units, p, v);
  }
  for (; p < t.pixels; ++p) {
    int v = 0;
    for (; v + WIDE <= vectors; v += WIDE) cell<BITS, 1, WIDE>(t, units, p, v);
    for (; v < vectors; ++v) cell<BITS, 1, 1>(t, units, p, v);
  }
}

template <int BITS>
LOWBIT_INLINE void by_table(const FloatsTile& t) {
#if !defined(__AVX2__)
  // one lane after the other is slow: a line is computed instead where there is one
  if (t.affine && t.slope == 1) return walk<BITS>(t, Line<true>{t.slope, t.first});
  if (t.affine) return walk<BITS>(t, Line<false>{t.slope, t.first});
#endif
  walk<BITS>(t, Table(t.table));
}

LOWBIT_INLINE void floats_lanes(const FloatsTile& t) {
  switch (t.bits) {
    case 1:
      return by_table<1>(t);
    case 2:
      return by_table<2>(t);
    case 3:
      return by_table<3>(t);
    case 4:
      return by_table<4>(t);
    default:
      if (t.slope == 1) return walk<8>(t, Line<true>{t.slope, t.first});
      return walk<8>(t, Line<false>{t.slope, t.first});
  }
}

}  // namespace
}  // namespace lowbit
