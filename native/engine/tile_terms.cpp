#include <algorithm>
#include <stdexcept>

#include "engine/corrections.h"
#include "engine/layer_terms.h"
#include "ops/lanes.h"
#include "ops/tile8/params.h"

namespace lowbit {

namespace {

// How codes of one term are packed: as they are where a table of 16 holds their operands.
struct Packing {
  int bits = 8;
  uint8_t zero = 0;  // code of operand 0, for bytes that are no channel
};

Packing packing(const ByteOperand& operand, bool padded) {
  const auto zero = std::find(operand.operand.begin(), operand.operand.end(), 0);
  const auto index = zero - operand.operand.begin();
  const auto codes = static_cast<int64_t>(operand.operand.size());
  const int64_t needed = padded ? std::max(codes, index + 1) : codes;
  for (int bits : {1, 2, 4})
    if (needed <= 1 << bits) return {bits, static_cast<uint8_t>(padded ? index : 0)};
  return {8, 0};
}

}  // namespace

LayerTerms pack_tile8(const LayerSpec& spec, const std::vector<KStep>& steps) {
  LayerTerms layer;
  set_classes(spec, layer);
  const int64_t taps = spec.window.taps(), count = static_cast<int64_t>(steps.size());
  layer.taps = taps;
  layer.group_blocks = (spec.outer + LANES - 1) / LANES;
  const bool padded =
      std::any_of(steps.begin(), steps.end(), [](const KStep& s) { return s.count < STEP_BYTES; });
  std::vector<ByteOperand> operands;
  std::vector<Packing> packings;
  int64_t size = 0;
  for (const Units& units : spec.weight_units) {
    operands.push_back(byte_operand(units));
    const ByteOperand& operand = operands.back();
    if (!operand.fits) throw std::logic_error("weight units do not fit a byte");
    packings.push_back(packing(operand, padded));
    for (size_t x = 0; x < spec.inputs.size(); ++x) {
      LayerTerm term;
      term.input = static_cast<int>(x);
      term.weight = size;
      term.s = static_cast<int32_t>(wrap(int64_t(spec.inputs[x].slope) * operand.slope));
      term.t = static_cast<int32_t>(wrap(int64_t(spec.inputs[x].slope) * operand.first));
      term.bits = packings.back().bits;
      if (term.bits != 8) std::copy(operand.operand.begin(), operand.operand.end(), term.table.begin());
      layer.terms.push_back(std::move(term));
    }
    size += spec.groups * layer.group_blocks * count * tile_bytes(packings.back().bits);
  }
  // Weights of the last block are prefetched past their end.
  layer.tiles.assign(static_cast<size_t>(size + 64), 0);
  std::vector<int64_t> sums;
  each_row(spec, [&](int64_t o, const uint8_t* codes) {
    const int64_t in_group = o % spec.outer, lane = in_group % LANES;
    const int64_t block = o / spec.outer * layer.group_blocks + in_group / LANES;
    for (size_t w = 0; w < operands.size(); ++w) {
      const Packing& pack = packings[w];
      LayerTerm* term = &layer.terms[w * spec.inputs.size()];
      uint8_t* to = layer.aligned_tiles() + term->weight + block * count * tile_bytes(pack.bits);
      for (const KStep& step : steps) {
        for (int64_t i = 0; i < STEP_BYTES; ++i) {
          uint8_t code = pack.zero;
          if (i < step.count) {
            const int64_t at = step.first + i;
            code = codes[at % spec.inner * taps + step.tap + at / spec.inner];
            if (pack.bits == 8) code = static_cast<uint8_t>(operands[w].operand[code]);
          }
          const CodeAt at = code_at(pack.bits, static_cast<int>(i / 4), static_cast<int>(4 * lane + i % 4));
          to[at.byte] = static_cast<uint8_t>(to[at.byte] | code << at.shift);
        }
        to += tile_bytes(pack.bits);
      }
      sum_taps(spec, codes, spec.weight_units[w], sums);
      for (size_t x = 0; x < spec.inputs.size(); ++x)
        add_corr(spec, layer, term[x], o, spec.inputs[x].first, sums, 0);
    }
  });
  return layer;
}

}  // namespace lowbit
