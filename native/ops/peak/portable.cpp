// What the compiler makes of plain loops over memory in the first-level cache, for the base instruction set.
#include "ops/lanes.h"
#include "ops/peak/select.h"

namespace lowbit {
namespace {

constexpr int SIZE = 1024;

// Keeps the compiler from knowing what is at `memory`.
template <class T>
LOWBIT_INLINE void forget(T* memory) {
  asm volatile("" ::"r"(memory) : "memory");
}

template <class X, class W>
int64_t integers(int64_t rounds) {
  X x[SIZE] = {};
  W w[SIZE] = {};
  int32_t sum;
  for (int64_t r = 0; r < rounds; ++r) {
    forget(x);
    forget(w);
    sum = 0;
    for (int i = 0; i < SIZE; ++i) sum += x[i] * w[i];
    forget(&sum);
  }
  return rounds * 2 * SIZE;
}

}  // namespace

// Neighbours of 1, 2 and 4 bits are added; the counts of bytes stay apart.
int64_t peak_bits_portable(int64_t rounds) {
  uint32_t x[SIZE] = {}, w[SIZE] = {};
  U16 sums;
  for (int64_t r = 0; r < rounds; ++r) {
    forget(x);
    forget(w);
    U16 part = {};
    for (int i = 0; i < SIZE; i += LANES) {
      U16 v = load<U16>(x + i) ^ load<U16>(w + i);
      v -= (v >> 1) & 0x55555555u;
      v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
      part += (v + (v >> 4)) & 0x0F0F0F0Fu;
    }
    sums = part;
    forget(&sums);
  }
  return rounds * 2 * 32 * SIZE;
}

int64_t peak_bytes_portable(int64_t rounds) { return integers<uint8_t, int8_t>(rounds); }
int64_t peak_words_portable(int64_t rounds) { return integers<int16_t, int16_t>(rounds); }

int64_t peak_floats_portable(int64_t rounds) {
  float x[SIZE] = {}, w[SIZE] = {};
  F16 sums;
  for (int64_t r = 0; r < rounds; ++r) {
    forget(x);
    forget(w);
    F16 even = {}, odd = {};  // one chain of additions would wait for itself
    for (int i = 0; i < SIZE; i += 2 * LANES) {
      even += load<F16>(x + i) * load<F16>(w + i);
      odd += load<F16>(x + i + LANES) * load<F16>(w + i + LANES);
    }
    sums = even + odd;
    forget(&sums);
  }
  return rounds * 2 * SIZE;
}

}  // namespace lowbit
