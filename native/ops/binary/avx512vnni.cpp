// Logic, popcount and addition for 512 products, then a comparison and four bytes for 32 channels of a pixel.
#include <immintrin.h>

#include "ops/binary/select.h"
#include "ops/bits/reference.h"

namespace lowbit {
namespace {

// P pixels from p on and B blocks from b on. A pixel is one pointer, and the taps are at the same distance
// from each, so that one register moves all.
template <Coding C, bool SUMS, int P, int B>
__attribute__((noinline)) void cell(const BinaryTile& t, int b, int p) {
  constexpr int planes = C == Coding::mask ? 2 : 1;
  __m512i acc[P][B];
  LOWBIT_EACH(i, P) LOWBIT_EACH(n, B) acc[i][n] = _mm512_setzero_si512();
  const uint8_t* x[P];
  LOWBIT_EACH(i, P) x[i] = t.x[p + i];
  const uint32_t* w = t.w + b * t.block_words;
  const int64_t next = B > 1 ? t.block_words : 0, width = 4 * int64_t(t.words);
  int64_t row = 0;
  for (int tap = 0; tap < t.taps; ++tap, row += t.down) {
    for (int64_t k = row, end = row + width; k < end; k += 4, w += planes * LANES) {
      __m512i wi[B], negative[B] = {};
      LOWBIT_EACH(n, B) {
        wi[n] = _mm512_loadu_si512(w + n * next);
        if (C == Coding::mask) negative[n] = _mm512_loadu_si512(w + n * next + LANES);
      }
      LOWBIT_EACH(i, P) {
        const __m512i xi = _mm512_set1_epi32(static_cast<int32_t>(word_at(x[i] + k, 0)));
        LOWBIT_EACH(n, B) {
          const __m512i both = C == Coding::and_   ? _mm512_and_si512(wi[n], xi)
                               : C == Coding::xor_ ? _mm512_xor_si512(wi[n], xi)
                                                   // m & (n ^ x): 0x60 is that table of (m, n, x)
                                                   : _mm512_ternarylogic_epi32(wi[n], negative[n], xi, 0x60);
          acc[i][n] = _mm512_add_epi32(acc[i][n], _mm512_popcnt_epi32(both));
        }
      }
    }
  }
  // Without it gcc moves the sums between registers in every round, or keeps them in memory.
  LOWBIT_EACH(i, P) LOWBIT_EACH(n, B) asm volatile("" : "+v"(acc[i][n]));
  if constexpr (SUMS) {
    int32_t* sums = t.sums + p * t.stride + b * LANES;
    LOWBIT_EACH(i, P) LOWBIT_EACH(n, B) _mm512_storeu_si512(sums + i * t.stride + n * LANES, acc[i][n]);
    return;
  }
  const uint32_t falls = t.falls[b / 2];
  const int32_t* limits = t.limits + b * LANES;
  uint8_t* to = t.planes + p * t.out_bytes + 2 * b;
  LOWBIT_EACH(i, P) {
    const int32_t* limit = limits + (t.at ? t.at[p + i] : 0);
    uint32_t bits = 0;
    LOWBIT_EACH(n, B)
    bits |= static_cast<uint32_t>(_mm512_cmpge_epi32_mask(acc[i][n], _mm512_loadu_si512(limit + n * LANES)))
            << n * LANES;
    bits ^= falls;
    __builtin_memcpy(to + i * t.out_bytes, &bits, 4);
  }
}

// Pixels that are left over are taken together with some that are done: the same is stored again.
template <Coding C, bool SUMS, int B>
void pixels(const BinaryTile& t, int b) {
  const int n = t.pixels;
  for (int p = 0; p < n;) {
    const int left = n - p;
    if (left > 4 && n >= 8) {
      p = smaller(p, n - 8);
      cell<C, SUMS, 8, B>(t, b, p);
      p += 8;
    } else if (left > 2 && n >= 4) {
      p = smaller(p, n - 4);
      cell<C, SUMS, 4, B>(t, b, p);
      p += 4;
    } else if (left > 1) {
      cell<C, SUMS, 2, B>(t, b, p);
      p += 2;
    } else {
      cell<C, SUMS, 1, B>(t, b, p);
      ++p;
    }
  }
}

template <Coding C, bool SUMS>
void blocks(const BinaryTile& t) {
  int b = 0;
  for (; b + 2 <= t.blocks; b += 2) pixels<C, SUMS, 2>(t, b);
  if (b < t.blocks) pixels<C, SUMS, 1>(t, b);
}

template <Coding C>
void run(const BinaryTile& t) {
  return t.sums ? blocks<C, true>(t) : blocks<C, false>(t);
}

}  // namespace

void binary_8x32_avx512vpopcntdq(const BinaryTile& t) {
  switch (t.coding) {
    case Coding::and_:
      return run<Coding::and_>(t);
    case Coding::xor_:
      return run<Coding::xor_>(t);
    case Coding::mask:
      return run<Coding::mask>(t);
  }
}

}  // namespace lowbit
