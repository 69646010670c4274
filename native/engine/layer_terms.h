// Weights of a layer in the layout of its kernel, and what turns raw sums into accumulators.
#pragma once

#include <array>
#include <vector>

#include "engine/aligned.h"
#include "engine/layer.h"
#include "engine/tile_geometry.h"

namespace lowbit {

// acc = s * (raw sum) + corr[class of the pixel][channel] + t * (sum of activation operands)
struct LayerTerm {
  int input = 0;  // index of LayerSpec::inputs
  int64_t weight =
      -1;  // offset of the first block in the weight array, in its elements; -1: no products (ones)
  int32_t s = 0, t = 0;
  bool pairs_fit = false;
  Coding coding = Coding::and_;
  int w_planes = 0;
  std::vector<int32_t> w_weight;
  int64_t tables = 0;              // nibbles: where they begin in tiles
  int most = 1;                    // nibbles: entries of tables that fit a byte together
  int bits = 8;                    // tile8: of a packed code
  std::array<int8_t, 16> table{};  // tile8: operand of each code
  AlignedVector<int32_t> corr;     // [classes][channels + 16], empty where it is 0
};

struct LayerTerms {
  std::vector<LayerTerm> terms;
  AlignedVector<int8_t> bytes;      // dot8
  AlignedVector<uint32_t> words;    // bits
  AlignedVector<int16_t> units;     // depthwise
  AlignedVector<uint8_t> tiles;     // tile8, nibbles
  bool gather = false;              // dot8: taps of few channels are copied side by side first
  bool runs = false;                // the taps of a row of the kernel are one run of bytes (engine/rows.h)
  int64_t taps = 1, tap_words = 1;  // as the kernel sees them
  int64_t group_blocks = 1;
  PadClasses rows, columns;  // with zero padding and operands that do not start at unit 0
  int64_t classes = 1;
  std::vector<int32_t> corr_at;      // of output pixels, where in corr; empty where it is the same for all
  std::vector<CopyPadding> padding;  // tile8: of every input
};

// Whether the taps of a row of the kernel can be neighbours in memory.
inline bool in_runs(const LayerSpec& spec) {
  return spec.groups == 1 && spec.window.kernel_x > 1 && spec.window.dilation_x == 1;
}

LayerTerms pack_dot8(const LayerSpec& spec);
LayerTerms pack_bits(const LayerSpec& spec);
LayerTerms pack_depthwise(const LayerSpec& spec);
LayerTerms pack_nibbles(const LayerSpec& spec, int bits);
LayerTerms pack_tile8(const LayerSpec& spec, const std::vector<KStep>& steps);

}  // namespace lowbit
