#include <algorithm>

#include "engine/corrections.h"
#include "engine/layer_terms.h"
#include "ops/lanes.h"

namespace lowbit {

LayerTerms pack_nibbles(const LayerSpec& spec, int bits) {
  LayerTerms layer;
  set_classes(spec, layer);
  layer.runs = in_runs(spec);
  const int64_t taps = spec.window.taps(), in_byte = 8 / bits, in_half = in_byte / 2;
  const int64_t bytes = nibble_bytes(spec.inner, bits), per_run = layer.runs ? spec.window.kernel_x : 1;
  layer.taps = taps / per_run;
  layer.tap_words = per_run * bytes;
  layer.group_blocks = (spec.outer + LANES - 1) / LANES;
  const int64_t block = taps * bytes * 32, all = spec.groups * layer.group_blocks * block;
  const auto inputs = static_cast<int64_t>(spec.inputs.size()),
             weights = static_cast<int64_t>(spec.weight_units.size());
  constexpr int64_t TABLES = 256 * 32;
  layer.tiles.assign(static_cast<size_t>(weights * inputs * TABLES + weights * all + 63), 0);
  uint8_t* start = layer.aligned_tiles();
  std::vector<NibbleOperand> operands;
  for (int64_t w = 0; w < weights; ++w) {
    for (const InputTerm& input : spec.inputs) {
      operands.push_back(nibble_operand(spec.weight_units[static_cast<size_t>(w)], bits, input.largest));
      const NibbleOperand& operand = operands.back();
      LayerTerm term;
      term.input = static_cast<int>(&input - spec.inputs.data());
      term.tables = (w * inputs + term.input) * TABLES;
      term.most = operand.most;
      term.weight = weights * inputs * TABLES + w * all;
      term.s = static_cast<int32_t>(wrap(int64_t(input.slope) * operand.slope));
      std::copy(operand.tables.begin(), operand.tables.end(), start + term.tables);
      layer.terms.push_back(std::move(term));
    }
  }
  std::vector<int64_t> sums;
  each_row(spec, [&](int64_t o, const uint8_t* codes) {
    const int64_t group = o / spec.outer, in_group = o % spec.outer;
    const int64_t at = (group * layer.group_blocks + in_group / LANES) * block + in_group % LANES;
    // How often each code is there; beyond the last channel all are code 0.
    std::vector<int64_t> counts(size_t(1) << bits, 0);
    counts[0] = taps * (bytes * in_byte - spec.inner);
    for (int64_t w = 0; w < weights; ++w) {
      uint8_t* to = start + weights * inputs * TABLES + w * all + at;
      for (int64_t tap = 0; tap < taps; ++tap, to += bytes * 32)
        for (int64_t c = 0; c < spec.inner; ++c) {
          const uint8_t code = codes[c * taps + tap];
          uint8_t& half = to[c / in_byte * 32 + c % in_byte / in_half * LANES];
          half = static_cast<uint8_t>(half | code << c % in_half * bits);
          if (w == 0) ++counts[code];
        }
      sum_taps(spec, codes, spec.weight_units[static_cast<size_t>(w)], sums);
      for (int64_t x = 0; x < inputs; ++x) {
        const NibbleOperand& operand = operands[static_cast<size_t>(w * inputs + x)];
        LayerTerm& term = layer.terms[static_cast<size_t>(w * inputs + x)];
        int64_t below = 0;
        for (size_t code = 0; code < counts.size(); ++code) below += counts[code] * operand.below[code];
        add_corr(spec, layer, term, o, spec.inputs[static_cast<size_t>(x)].first, sums,
                 -int64_t(term.s) * below);
      }
    }
  });
  return layer;
}

}  // namespace lowbit
