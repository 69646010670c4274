// Chooses the loop of a kind of arithmetic; none where the instruction set has no such arithmetic.
#pragma once

#include "ops/isa.h"
#include "ops/peak/params.h"

namespace lowbit {

int64_t peak_bits_portable(int64_t);
int64_t peak_bytes_portable(int64_t);
int64_t peak_words_portable(int64_t);
int64_t peak_floats_portable(int64_t);
#if defined(__x86_64__)
int64_t peak_bits_avx2(int64_t);
int64_t peak_bytes_avx2(int64_t);
int64_t peak_words_avx2(int64_t);
int64_t peak_floats_avx2(int64_t);
int64_t peak_nibbles_avx2(int64_t);
int64_t peak_bits_avx512bw(int64_t);
int64_t peak_bytes_avx512bw(int64_t);
int64_t peak_words_avx512bw(int64_t);
int64_t peak_floats_avx512bw(int64_t);
int64_t peak_nibbles_avx512bw(int64_t);
int64_t peak_bits_avx512vpopcntdq(int64_t);
int64_t peak_bytes_avx512vnni(int64_t);
int64_t peak_words_avx512vnni(int64_t);
int64_t peak_tiles_avx512amx(int64_t);
#endif

inline PeakLoop select_peak(Isa isa, Arithmetic arithmetic) {
  using Row = PeakLoop[6];  // in the order of Arithmetic
  static const Row portable = {
      peak_bits_portable, peak_bytes_portable, peak_words_portable, peak_floats_portable, nullptr, nullptr};
  const auto at = static_cast<int>(arithmetic);
#if defined(__x86_64__)
  static const Row avx2 = {peak_bits_avx2,   peak_bytes_avx2, peak_words_avx2,
                           peak_floats_avx2, nullptr,         peak_nibbles_avx2};
  static const Row avx512bw = {
      peak_bits_avx512bw,   peak_bytes_avx512bw, peak_words_avx512bw, peak_floats_avx512bw, nullptr,
      peak_nibbles_avx512bw};
  static const Row avx512 = {peak_bits_avx512vpopcntdq, peak_bytes_avx512vnni, peak_words_avx512vnni,
                             peak_floats_avx512bw,      peak_tiles_avx512amx,  peak_nibbles_avx512bw};
  switch (isa) {
    case Isa::amx:
      return avx512[at];
    case Isa::avx512:
      return arithmetic == Arithmetic::tiles ? nullptr : avx512[at];
    case Isa::avx512bw:
      return avx512bw[at];
    case Isa::avx2:
      return avx2[at];
    case Isa::scalar:
    case Isa::neon:
      break;
  }
#endif
  (void)isa;
  return portable[at];
}

}  // namespace lowbit
