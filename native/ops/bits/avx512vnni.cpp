// With vpopcntd: and / xor / ternary logic, popcount, add: three operations for 512 products. Activation
// words are broadcast from memory inside the logic operation; P * NW * NX accumulators stay in registers.
#include <immintrin.h>

#include "ops/bits/cells.h"
#include "ops/bits/select.h"

namespace lowbit {
namespace {

struct Cells {
  // As many as have their pointers in registers.
  template <int N>
  static constexpr int pixels() {
    return N == 4 ? 4 : 8;
  }

  template <Coding C, int P, int NW, int NX>
  static __attribute__((noinline)) void run(const BitTile& t, const BitCell& cell) {
    constexpr int planes = C == Coding::mask ? 2 : NW;
    if (t.w_planes == planes && t.x_planes == NX) {
      sums<C, P, NW, NX>(t, cell, planes * LANES, 4 * NX);
    } else {
      sums<C, P, NW, NX>(t, cell, t.w_planes * LANES, 4 * t.x_planes);
    }
  }

  // step, x_step: from one word to the next, in words of weights and in bytes.
  template <Coding C, int P, int NW, int NX>
  LOWBIT_INLINE void sums(const BitTile& t, const BitCell& cell, int64_t step, int64_t x_step) {
    __m512i acc[P][NW][NX];
    LOWBIT_EACH(p, P) LOWBIT_EACH(i, NW) LOWBIT_EACH(j, NX) acc[p][i][j] = _mm512_setzero_si512();
    const uint32_t* w = t.w + cell.b * t.block_words + cell.wi * LANES;
    for (int tap = 0; tap < t.taps; ++tap) {
      const uint8_t* x[P];
      for (int p = 0; p < P; ++p) x[p] = cell_x(t, tap, cell.p + p) + 4 * cell.xj;
      for (int64_t k = 0, end = t.words * x_step; k < end; k += x_step, w += step) {
        __m512i wi[NW], negative = _mm512_setzero_si512();
        for (int i = 0; i < NW; ++i) wi[i] = _mm512_loadu_si512(w + i * LANES);
        if (C == Coding::mask) negative = _mm512_loadu_si512(w + LANES);
        for (int p = 0; p < P; ++p) {
          for (int j = 0; j < NX; ++j) {
            const __m512i xj = _mm512_set1_epi32(static_cast<int32_t>(word_at(x[p] + k, j)));
            for (int i = 0; i < NW; ++i) {
              // acc[lane] += popcount(w[lane] & x);
              const __m512i both = C == Coding::and_   ? _mm512_and_si512(wi[i], xj)
                                   : C == Coding::xor_ ? _mm512_xor_si512(wi[i], xj)
                                                       // m & (n ^ x): 0x60 is that table of (m, n, x)
                                                       : _mm512_ternarylogic_epi32(wi[i], negative, xj, 0x60);
              acc[p][i][j] = _mm512_add_epi32(acc[p][i][j], _mm512_popcnt_epi32(both));
            }
          }
        }
      }
    }
    // Without it gcc moves the sums between registers in every round, or keeps them in memory.
    LOWBIT_EACH(p, P) LOWBIT_EACH(i, NW) LOWBIT_EACH(j, NX) asm volatile("" : "+v"(acc[p][i][j]));
    int32_t* out = t.out + cell.p * t.stride + cell.b * LANES;
    const int64_t stride = t.stride;
    const bool add = !cell.first;
    __m512i weight[NW];
    LOWBIT_EACH(i, NW)
    weight[i] = _mm512_set1_epi32(static_cast<int32_t>(cell_weight(t, cell.wi + i, cell.xj)));
    LOWBIT_EACH(p, P) {
      __m512i sum = add ? _mm512_loadu_si512(out + p * stride) : _mm512_setzero_si512();
      LOWBIT_EACH(i, NW) {
        __m512i plane = acc[p][i][0];
        if (NX == 2) plane = _mm512_add_epi32(plane, _mm512_slli_epi32(acc[p][i][NX - 1], 1));
        sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(plane, weight[i]));
      }
      _mm512_storeu_si512(out + p * stride, sum);
    }
  }
};

}  // namespace

void bits_8x16_avx512vpopcntdq(const BitTile& t) { walk<Cells>(t); }

}  // namespace lowbit
