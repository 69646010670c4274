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
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed only between inlined functions

#define LOWBIT_INLINE static inline __attribute__((always_inline))

namespace lowbit {

constexpr int LANES = 16;

typedef float F16 __attribute__((vector_size(64)));
typedef int32_t I16 __attribute__((vector_size(64)));
typedef uint32_t U16 __attribute__((vector_size(64)));
typedef uint8_t B16 __attribute__((vector_size(16)));
typedef int16_t H16 __attribute__((vector_size(32)));

template <class V, class T>
LOWBIT_INLINE V load(const T* source) {
  V v;
  __builtin_memcpy(&v, source, sizeof(V));
  return v;
}

template <class V, class T>
LOWBIT_INLINE void store(T* target, const V& v) {
  __builtin_memcpy(target, &v, sizeof(V));
}

// The first `lanes` lanes only.
template <class V, class T>
LOWBIT_INLINE void store(T* target, const V& v, int lanes) {
  if (lanes == LANES) {
    __builtin_memcpy(target, &v, sizeof(V));
  } else {
    for (int i = 0; i < lanes; ++i) target[i] = v[i];
  }
}

// A constant in every lane; p - 0 keeps the sign of -0, which 0 + p would not.
LOWBIT_INLINE F16 splat(float p) { return p - (F16){}; }
LOWBIT_INLINE I16 splat(int32_t p) { return p - (I16){}; }

LOWBIT_INLINE int smaller(int a, int b) { return a < b ? a : b; }

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
  return plane16(__builtin_convertvector(codes, B16), j);
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
