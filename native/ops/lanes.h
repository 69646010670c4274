// Sixteen lanes, one per output channel: the unit that every layout in native/ is blocked by.
//
// Written with vector extensions, so that one source becomes four SSE2, two AVX2 or one AVX-512 operation (or
// NEON). Everything is a macro, a type or always inlined: files are compiled for different instruction sets,
// and a shared out-of-line copy would let the linker hand AVX-512 code to an old processor.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(__AVX2__) && !defined(__AVX512F__)
#include "ops/halves.h"
#endif

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed only between inlined functions

#define LOWBIT_INLINE static inline __attribute__((always_inline))

// A loop over N vectors that have to stay in registers: indexed by a variable they would live in memory.
#define LOWBIT_EACH(n, N) _Pragma("GCC unroll 16") for (int n = 0; n < (N); ++n)

namespace lowbit {

constexpr int LANES = 16;

#if defined(__AVX2__) && !defined(__AVX512F__)
typedef Halves<float> F16;
typedef Halves<int32_t> I16;
typedef Halves<uint32_t> U16;
#else
typedef float F16 __attribute__((vector_size(64)));
typedef int32_t I16 __attribute__((vector_size(64)));
typedef uint32_t U16 __attribute__((vector_size(64)));
#endif
typedef uint8_t B16 __attribute__((vector_size(16)));
typedef int16_t H16 __attribute__((vector_size(32)));

// Of two halves one by one: gcc moves a structure of two by 16 bytes through the stack, where a load of 32
// waits for both.
template <class V, class T>
LOWBIT_INLINE V load(const T* source) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    typename V::Half lo, hi;
    __builtin_memcpy(&lo, source, 32);
    __builtin_memcpy(&hi, reinterpret_cast<const char*>(source) + 32, 32);
    return {lo, hi};
  }
#endif
  V v;
  __builtin_memcpy(&v, source, sizeof(V));
  return v;
}

template <class V, class T>
LOWBIT_INLINE void store(T* target, const V& v) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    const typename V::Half lo = v.lo, hi = v.hi;
    __builtin_memcpy(target, &lo, 32);
    __builtin_memcpy(reinterpret_cast<char*>(target) + 32, &hi, 32);
    return;
  }
#endif
  __builtin_memcpy(target, &v, sizeof(V));
}

// The first `lanes` lanes only.
template <class V, class T>
LOWBIT_INLINE void store(T* target, const V& v, int lanes) {
  if (lanes == LANES) {
    store(target, v);
  } else {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
      _mm512_mask_storeu_ps(target, static_cast<__mmask16>((1u << lanes) - 1), (__m512)v);
      return;
    }
#endif
    for (int i = 0; i < lanes; ++i) target[i] = v[i];
  }
}

// The first `lanes` lanes, at least one, and zeros.
template <class V, class T>
LOWBIT_INLINE V load_some(const T* source, int lanes) {
  if (lanes == LANES) return load<V>(source);
  T some[LANES] = {};
  for (int i = 0; i < lanes; ++i) some[i] = source[i];
  return load<V>(some);
}

// condition ? a : b, to_float, to_int (of what is integral already) and widen: what vectors of two halves
// need a function for.
#if defined(__AVX2__) && !defined(__AVX512F__)
template <class V>
LOWBIT_INLINE V select(const I16& condition, const V& a, const V& b) {
  return choose(condition, a, b);
}
LOWBIT_INLINE F16 to_float(const I16& v) {
  return {__builtin_convertvector(v.lo, F16::Half), __builtin_convertvector(v.hi, F16::Half)};
}
LOWBIT_INLINE I16 to_int(const F16& v) {
  return {__builtin_convertvector(v.lo, I16::Half), __builtin_convertvector(v.hi, I16::Half)};
}
LOWBIT_INLINE I16 widen(const H16& v) {
  return {(I16::Half)_mm256_cvtepi16_epi32(_mm256_castsi256_si128((__m256i)v)),
          (I16::Half)_mm256_cvtepi16_epi32(_mm256_extracti128_si256((__m256i)v, 1))};
}
#else
template <class V>
LOWBIT_INLINE V select(const I16& condition, const V& a, const V& b) {
  return condition ? a : b;
}
LOWBIT_INLINE F16 to_float(const I16& v) { return __builtin_convertvector(v, F16); }
LOWBIT_INLINE I16 to_int(const F16& v) { return __builtin_convertvector(v, I16); }
LOWBIT_INLINE I16 widen(const H16& v) { return __builtin_convertvector(v, I16); }
#endif

LOWBIT_INLINE bool any_of(const I16& conditions) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)conditions, (__m512i)conditions) != 0;
#else
  int32_t any = 0;
  for (int i = 0; i < LANES; ++i) any |= conditions[i];
  return any != 0;
#endif
}

// a > b ? a : b, so b where one of them is NaN or both are zeros.
LOWBIT_INLINE F16 larger(const F16& a, const F16& b) {
#if defined(__AVX512F__)
  return (F16)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return {(F16::Half)_mm256_max_ps((__m256)a.lo, (__m256)b.lo),
          (F16::Half)_mm256_max_ps((__m256)a.hi, (__m256)b.hi)};
#else
  return select(a > b, a, b);
#endif
}

LOWBIT_INLINE I16 larger(const I16& a, const I16& b) {
#if defined(__AVX512F__)
  return (I16)_mm512_max_epi32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return {(I16::Half)_mm256_max_epi32((__m256i)a.lo, (__m256i)b.lo),
          (I16::Half)_mm256_max_epi32((__m256i)a.hi, (__m256i)b.hi)};
#else
  return select(a > b, a, b);
#endif
}

// Rows become columns. Four rounds, each interleaving a row of the first half with its counterpart in the
// second.
template <class V>
LOWBIT_INLINE void transpose16(V* rows) {
  V other[LANES];
  LOWBIT_EACH(round, 4) {
    const V* from = round % 2 ? other : rows;
    V* to = round % 2 ? rows : other;
    LOWBIT_EACH(i, 8) {
      to[2 * i] = __builtin_shufflevector(from[i], from[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6,
                                          22, 7, 23);
      to[2 * i + 1] = __builtin_shufflevector(from[i], from[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13,
                                              29, 14, 30, 15, 31);
    }
  }
}

// A constant in every lane; p - 0 keeps the sign of -0, which 0 + p would not.
LOWBIT_INLINE F16 splat(float p) { return p - (F16){}; }
LOWBIT_INLINE I16 splat(int32_t p) { return p - (I16){}; }

LOWBIT_INLINE int smaller(int a, int b) { return a < b ? a : b; }

// Codes 0..255 as bytes, and back. gcc 12 would move one at a time.
LOWBIT_INLINE B16 narrow(const I16& codes) {
#if defined(__AVX512F__)
  return (B16)_mm512_cvtepi32_epi8((__m512i)codes);
#elif defined(__AVX2__)
  const __m256i a = (__m256i)codes.lo, b = (__m256i)codes.hi;
  return (B16)_mm_packus_epi16(_mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)),
                               _mm_packs_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1)));
#elif defined(__SSE2__)
  __m128i q[4];
  __builtin_memcpy(q, &codes, sizeof(q));
  return (B16)_mm_packus_epi16(_mm_packs_epi32(q[0], q[1]), _mm_packs_epi32(q[2], q[3]));
#else
  return __builtin_convertvector(codes, B16);
#endif
}

LOWBIT_INLINE I16 widen(const B16& codes) {
#if defined(__AVX512F__)
  return (I16)_mm512_cvtepu8_epi32((__m128i)codes);
#elif defined(__AVX2__)
  return {(I16::Half)_mm256_cvtepu8_epi32((__m128i)codes),
          (I16::Half)_mm256_cvtepu8_epi32(_mm_srli_si128((__m128i)codes, 8))};
#else
  return __builtin_convertvector(codes, I16);
#endif
}

// Bit j of 16 codes as 16 bits.
LOWBIT_INLINE uint16_t plane16(const B16& codes, int j) {
#if defined(__SSE2__)
  // for (i = 0; i < 16; ++i) bits |= ((codes[i] >> j) & 1) << i;
  // The shift moves bit j of every byte to its top; what crosses from the lower byte lands below the top bit.
  __m128i v;
  __builtin_memcpy(&v, &codes, 16);
  return static_cast<uint16_t>(_mm_movemask_epi8(_mm_sll_epi16(v, _mm_cvtsi32_si128(7 - j))));
#else
  uint16_t bits = 0;
  for (int i = 0; i < 16; ++i) bits = static_cast<uint16_t>(bits | (((codes[i] >> j) & 1) << i));
  return bits;
#endif
}

// Bit j of 16 codes held in 32-bit lanes.
LOWBIT_INLINE uint16_t plane16(const I16& codes, int j) {
#if defined(__AVX512F__)
  // bits |= ((codes[i] >> j) & 1) << i;
  return _mm512_test_epi32_mask((__m512i)codes, _mm512_set1_epi32(1 << j));
#else
  return plane16(narrow(codes), j);
#endif
}

// code + (v >= t): one comparison to a mask and one masked addition where masks exist.
LOWBIT_INLINE I16 count_reached(const I16& code, const I16& v, const I16& t) {
#if defined(__AVX512F__)
  const __mmask16 reached = _mm512_cmpge_epi32_mask((__m512i)v, (__m512i)t);
  return (I16)_mm512_mask_add_epi32((__m512i)code, reached, (__m512i)code, _mm512_set1_epi32(1));
#else
  return code - (v >= t);
#endif
}

LOWBIT_INLINE I16 count_reached(const I16& code, const F16& v, const F16& t) {
#if defined(__AVX512F__)
  const __mmask16 reached = _mm512_cmp_ps_mask((__m512)v, (__m512)t, _CMP_GE_OQ);
  return (I16)_mm512_mask_add_epi32((__m512i)code, reached, (__m512i)code, _mm512_set1_epi32(1));
#else
  return code - (v >= t);
#endif
}

}  // namespace lowbit
