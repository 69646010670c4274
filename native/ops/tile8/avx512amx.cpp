// tdpbusd: 16 x 16 sums of 64 products in 16 cycles, eight times what vpdpbusd does. One weight tile at a
// time meets up to six pixel tiles; packed weights are unpacked by the vector units two steps ahead, while
// the matrix unit works, and so is the epilogue of the block before: the reorder buffer holds a few steps.
#include <immintrin.h>

#include "ops/lanes.h"
#include "ops/tile8/select.h"

namespace lowbit {
namespace {

// Codes of one weight tile to bytes: 16 rows of 64.
template <int BITS>
LOWBIT_INLINE void unpack(const uint8_t* w, __m512i table, uint8_t* to) {
  if constexpr (BITS == 1) {
    const __m512i zero = _mm512_shuffle_epi8(table, _mm512_setzero_si512());
    const __m512i one = _mm512_shuffle_epi8(table, _mm512_set1_epi8(1));
    for (int row = 0; row < 16; ++row) {
      uint64_t mask;
      __builtin_memcpy(&mask, w + 8 * row, 8);
      _mm512_store_si512(to + 64 * row, _mm512_mask_blend_epi8(mask, zero, one));
    }
  } else {
    constexpr int PER = 8 / BITS;
    const __m512i mask = _mm512_set1_epi8((1 << BITS) - 1);
    for (int row = 0; row < 16; row += PER, w += 64) {
      __m512i v = _mm512_loadu_si512(w);
      // to[row + j] = table[w >> j * BITS & mask];
      for (int j = 0; j < PER; ++j) {
        _mm512_store_si512(to + 64 * (row + j), _mm512_shuffle_epi8(table, _mm512_and_si512(v, mask)));
        v = _mm512_srli_epi16(v, BITS);
      }
    }
  }
}

template <int T>
LOWBIT_INLINE void clear() {
  _tile_zero(0);
  if constexpr (T > 1) _tile_zero(1);
  if constexpr (T > 2) _tile_zero(2);
  if constexpr (T > 3) _tile_zero(3);
  if constexpr (T > 4) _tile_zero(4);
  if constexpr (T > 5) _tile_zero(5);
}

// The first store of a tile after a microsecond without one stops everything for some 280 ns, a quarter of
// what the 36 steps of a 3x3 window over 256 channels take. A store of any tile every 16 steps avoids it, and
// takes 5 ns.
constexpr int AWAKE = 16;

// Tile numbers are part of the instructions: register 6 holds pixels, 7 weights, the others the sums of pixel
// tile I / N and block I % N.
#define LOWBIT_MULTIPLY(I)                                                                     \
  if constexpr (I < T * N) {                                                                   \
    if constexpr (I % N == 0) _tile_loadd(6, t.x[I / N] + at, static_cast<long>(t.row_bytes)); \
    if constexpr (N > 1 || I == 0) _tile_loadd(7, weights(i, I % N), 64);                      \
    _tile_dpbusd(I, 6, 7);                                                                     \
  }
// Two pixel tiles and two blocks leave a register for the second one: every tile is loaded once.
#define LOWBIT_MULTIPLY_2X2                                        \
  _tile_loadd(5, t.x[0] + at, static_cast<long>(t.row_bytes));     \
  _tile_loadd(7, weights(i, 0), 64);                               \
  _tile_dpbusd(0, 5, 7);                                           \
  _tile_loadd(6, t.x[T - 1] + at, static_cast<long>(t.row_bytes)); \
  _tile_dpbusd(2, 6, 7);                                           \
  _tile_loadd(7, weights(i, 1), 64);                               \
  _tile_dpbusd(1, 5, 7);                                           \
  _tile_dpbusd(3, 6, 7);
#define LOWBIT_STORE(I)    \
  if constexpr (I < T * N) \
    _tile_stored(I, out + I / N * t.rows * t.stride + I % N * LANES, static_cast<long>(4 * t.stride));

// N blocks at a time: few pixel tiles would be read again for every block, from a cache that is too slow for
// it.
template <int BITS, int T, int N>
__attribute__((noinline)) void columns(const TileJob& t, int first, int stop) {
  const __m512i table =
      _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128(reinterpret_cast<const __m128i*>(t.table)));
  const int64_t block = t.count * tile_bytes(BITS);
  const int all = t.count * ((stop - first) / N);
  const uint8_t* w = t.w + first * block;
  int ahead_step = 0;
  const uint8_t* ahead = w;
  // Step i of all, which come in their order.
  const auto fill = [&](int i) __attribute__((always_inline)) {
    if constexpr (BITS != 8) {
      if (i >= all) return;
      for (int b = 0; b < N; ++b)
        unpack<BITS == 8 ? 4 : BITS>(ahead + b * block, table, t.scratch + (i % 4 * N + b) * 1024);
      ahead += tile_bytes(BITS);
      if (++ahead_step == t.count) {
        ahead_step = 0;
        ahead += (N - 1) * block;
      }
    }
  };
  const auto weights = [&](int i, int b) __attribute__((always_inline)) -> const uint8_t* {
    return BITS == 8 ? w + b * block : t.scratch + (i % 4 * N + b) * 1024;
  };
  fill(0);
  fill(1);
  int i = 0;
  for (int b = first; b < stop; b += N, w += (N - 1) * block) {
    clear<T * N>();
    for (int k = 0; k < t.count; ++k, ++i, w += tile_bytes(BITS)) {
      fill(i + 2);
      if constexpr (BITS == 8)
        for (int n = 0; n < N; ++n)
          for (int line = 0; line < 16; ++line) _mm_prefetch(w + n * block + 4096 + 64 * line, _MM_HINT_T0);
      asm volatile("" ::: "memory");  // tile loads do not say that they read memory
      const int64_t at = t.steps[k];
      if constexpr (T == 2 && N == 2) {
        LOWBIT_MULTIPLY_2X2
      } else {
        LOWBIT_MULTIPLY(0)
        LOWBIT_MULTIPLY(1)
        LOWBIT_MULTIPLY(2)
        LOWBIT_MULTIPLY(3)
        LOWBIT_MULTIPLY(4)
        LOWBIT_MULTIPLY(5)
      }
      if (k % AWAKE == AWAKE - 1) _tile_stored(7, t.scratch + TILE_SPARE, 0);
      if (t.meanwhile && t.meanwhile->some) t.meanwhile->some(t.meanwhile);
    }
    while (t.meanwhile && t.meanwhile->some) t.meanwhile->some(t.meanwhile);
    int32_t* out = t.out + b * LANES;
    LOWBIT_STORE(0)
    LOWBIT_STORE(1)
    LOWBIT_STORE(2)
    LOWBIT_STORE(3)
    LOWBIT_STORE(4)
    LOWBIT_STORE(5)
    if (t.meanwhile) t.meanwhile->stored(t.meanwhile, b, N);
  }
}

// As many blocks together as there are, then one by one.
template <int BITS, int T, int N>
LOWBIT_INLINE void together(const TileJob& t) {
  const int stop = t.blocks / N * N;
  if (stop) columns<BITS, T, N>(t, 0, stop);
  if (stop < t.blocks) columns<BITS, T, 1>(t, stop, t.blocks);
}

template <int BITS>
LOWBIT_INLINE void width(const TileJob& t) {
  switch (t.tiles) {
    case 1:
      return together<BITS, 1, 4>(t);
    case 2:
      return together<BITS, 2, 2>(t);
    case 3:
      return together<BITS, 3, 2>(t);
    case 4:
      return columns<BITS, 4, 1>(t, 0, t.blocks);
    case 5:
      return columns<BITS, 5, 1>(t, 0, t.blocks);
    default:
      return columns<BITS, 6, 1>(t, 0, t.blocks);
  }
}

struct Shape {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

}  // namespace

void tile8_open_avx512amx(int rows) {
  Shape shape{};
  shape.palette = 1;
  for (int i = 0; i < 8; ++i) {
    shape.row_bytes[i] = 64;
    shape.rows[i] = static_cast<uint8_t>(i == 7 ? 16 : rows);
  }
  asm volatile("ldtilecfg %0" ::"m"(shape));  // the intrinsic of gcc 12 reads 8 bytes of it only
}

void tile8_u8s8_96x16_avx512amx(const TileJob& t) {
  switch (t.bits) {
    case 1:
      return width<1>(t);
    case 2:
      return width<2>(t);
    case 4:
      return width<4>(t);
    default:
      return width<8>(t);
  }
}

void tile8_close_avx512amx() { _tile_release(); }

}  // namespace lowbit
