#include "engine/choose.h"

#include <algorithm>
#include <cstdlib>

#include "engine/step.h"
#include "ops/lanes.h"

namespace lowbit {

namespace {
// Multiply-adds by int8 dot products in the time of one by a pair of bit planes. A plane product is three
// operations for 512 multiply-adds, VNNI does 64 in one, maddubs + madd + add in three. Intel counts bits on
// one port of two, AMD (Zen 4, 5) on as many as it adds on.
double plane_rate(Isa isa) {
  switch (isa) {
    case Isa::amx:
    case Isa::avx512:
#if defined(__x86_64__)
      __builtin_cpu_init();
      if (__builtin_cpu_is("intel")) return 2.7;
#endif
      return 5.3;
    case Isa::avx512bw:
    case Isa::avx2:
      return 3.5;
    case Isa::neon:  // 128 products in three operations, where 16 of bytes take six
      return 12;
    case Isa::scalar:
      break;
  }
  return 8;
}

// Halves of bytes of 1 or 2 bits where shuffles are faster than population counts and dot products; 0:
// neither.
int nibble_bits(Isa isa, const LayerShape& shape, const std::vector<Units>& weights,
                const std::vector<int>& x_planes, bool ones) {
  if (ones || (isa != Isa::avx2 && isa != Isa::avx512bw)) return 0;
  const int most = *std::max_element(x_planes.begin(), x_planes.end());
  for (int bits = 1; bits <= 2; ++bits) {
    const auto fits = [&](const Units& units) { return nibble_operand(units, bits, (1 << most) - 1).fits; };
    // A few pixels: planes of one bit are half the bytes.
    if (most <= bits && std::all_of(weights.begin(), weights.end(), fits))
      return bits == 1 && shape.pixels < 4 ? 0 : bits;
  }
  return 0;
}

}  // namespace

std::pair<std::string, int64_t> choose_layer(Isa isa, const LayerShape& shape,
                                             const std::vector<Units>& weights,
                                             const std::vector<int>& x_planes, bool ones, bool codebook,
                                             int64_t budget) {
  const std::pair<std::string, int64_t> direct{"direct", 0};
  if (x_planes.empty() || shape.inner * shape.taps > 1 << 24) return direct;
  const int64_t outer = round_up(shape.outer, LANES), channels = shape.groups * shape.outer;
  const auto terms = static_cast<int64_t>((weights.size() + (ones ? 1 : 0)) * x_planes.size());
  const int64_t corr = terms * std::max<int64_t>(1, shape.classes) * (channels + LANES) * 4;
  if (terms > 64) return direct;
  if (shape.inner == 1 && shape.groups > 1) {
    const int64_t size =
        corr + static_cast<int64_t>(weights.size() + 1) * shape.taps * round_up(channels, LANES) * 2;
    for (const Units& units : weights)
      for (int32_t u : units)
        if (std::abs(u) > INT16_MAX) return direct;
    return size <= budget ? std::make_pair(std::string("depthwise"), size) : direct;
  }
  const auto count = static_cast<int64_t>(weights.size());
  if (const int bits = nibble_bits(isa, shape, weights, x_planes, ones)) {
    const int64_t size = corr + terms * 256 * 32 +
                         count * shape.groups * outer * shape.taps * nibble_bytes(shape.inner, bits) * 2;
    if (size <= budget) return {"nibbles" + std::to_string(bits), size};
  }
  bool bytes_fit = !codebook;
  bool tiles_fit = !ones;
  int64_t dot_size = corr, bit_size = corr, tile_size = corr;
  double dot_cost = 0, bit_cost = 0;
  const int64_t quads = (shape.inner + 3) / 4, words = (shape.inner + 31) / 32;
  for (const Units& units : weights) {
    const ByteOperand byte = byte_operand(units);
    bytes_fit = bytes_fit && byte.fits;
    tiles_fit = tiles_fit && byte.fits && byte.first == 0;
    const size_t codes = units.size() + (shape.inner % 64 != 0);  // one for bytes that are no channel
    const int64_t bits = codes <= 2 ? 1 : codes <= 4 ? 2 : codes <= 16 ? 4 : 8;
    tile_size += shape.groups * outer * shape.taps * ((shape.inner + 63) / 64) * 8 * bits;
    const PlaneOperand planes = plane_operand(units);
    dot_size += shape.groups * outer * shape.taps * quads * 4;
    bit_size += shape.groups * outer * shape.taps * words * 4 * static_cast<int64_t>(planes.planes.size());
    for (int n : x_planes) {
      dot_cost += static_cast<double>(4 * quads);
      bit_cost += static_cast<double>(32 * words * planes.products() * n) / plane_rate(isa);
    }
  }
  const std::pair<std::string, int64_t> tile{"tile8", tile_size};
  tiles_fit = tiles_fit && tile_size <= budget;
  if (isa == Isa::amx && tiles_fit && shape.pixels >= 4) return tile;
  const std::pair<std::string, int64_t> dot{"dot8", dot_size}, bits{"bits", bit_size};
  // A few pixels: the fewer bytes of weights the better. Tiles are unpacked for them alone, which costs as
  // much as their products again and more, so planes may take twice the operations (2 by 4 bits, not 4 by 4).
  if ((isa == Isa::avx512 || isa == Isa::amx) && tiles_fit && shape.pixels < 4 && tile_size < dot_size)
    return bit_cost > 2 * dot_cost || bit_size > budget ? tile : bits;
  bytes_fit = bytes_fit || (codebook && weights.size() <= 4);
  const bool bits_first = bit_cost < dot_cost;
  if (bytes_fit && dot_size <= budget && !(bits_first && bit_size <= budget)) return dot;
  return bit_size <= budget ? bits : direct;
}

}  // namespace lowbit
