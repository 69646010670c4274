#include <algorithm>
#include <array>

#include "engine/corrections.h"
#include "engine/layer_terms.h"
#include "ops/lanes.h"

namespace lowbit {

namespace {

constexpr int64_t TABLES = 256 * 32;

// [256][32] as NibbleTile has them.
void fill_tables(const NibbleOperand& operand, int bits, int32_t largest, uint8_t* to) {
  const int mask = (1 << bits) - 1;
  for (int x = 0; x < 256; ++x)
    for (int half = 0; half < 8; half += 4)
      for (int nibble = 0; nibble < 16; ++nibble) {
        int32_t sum = 0;
        for (int at = 0; at < 4; at += bits) {
          const int32_t w = operand.w[static_cast<size_t>(nibble >> at & mask)];
          sum += w * std::min(x >> (half + at) & mask, largest) + std::max(0, -w * largest);
        }
        *to++ = static_cast<uint8_t>(sum);
      }
}

}  // namespace

LayerTerms pack_nibbles(const LayerSpec& spec, int bits) {
  LayerTerms layer;
  set_classes(spec, layer);
  layer.runs = in_runs(spec);
  const int64_t taps = spec.window.taps(), in_half = 4 / bits;
  const int64_t bytes = nibble_bytes(spec.inner, bits), per_run = layer.runs ? spec.window.kernel_x : 1;
  layer.taps = taps / per_run;
  layer.tap_words = per_run * bytes;
  layer.group_blocks = (spec.outer + LANES - 1) / LANES;
  const int64_t block = taps * bytes * 32, all = spec.groups * layer.group_blocks * block;
  const auto inputs = static_cast<int64_t>(spec.inputs.size()),
             weights = static_cast<int64_t>(spec.weight_units.size());
  layer.tiles.assign(static_cast<size_t>(weights * inputs * TABLES + weights * all), 0);
  uint8_t* start = layer.tiles.data();
  for (int64_t w = 0; w < weights; ++w) {
    for (const InputTerm& input : spec.inputs) {
      const NibbleOperand operand =
          nibble_operand(spec.weight_units[static_cast<size_t>(w)], bits, input.largest);
      LayerTerm term;
      term.input = static_cast<int>(&input - spec.inputs.data());
      term.tables = (w * inputs + term.input) * TABLES;
      term.most = operand.most;
      term.weight = weights * inputs * TABLES + w * all;
      term.s = static_cast<int32_t>(wrap(int64_t(input.slope) * operand.slope));
      fill_tables(operand, bits, input.largest, start + term.tables);
      layer.terms.push_back(std::move(term));
    }
  }
  std::vector<int64_t> sums;
  each_row(spec, [&](int64_t o, const uint8_t* codes) {
    const int64_t group = o / spec.outer, in_group = o % spec.outer;
    const int64_t at = (group * layer.group_blocks + in_group / LANES) * block + in_group % LANES;
    for (int64_t w = 0; w < weights; ++w) {
      uint8_t* to = start + weights * inputs * TABLES + w * all + at;
      std::array<int64_t, 16> halves{};  // how often each half byte is there
      halves[0] = taps * (2 * bytes - (spec.inner + in_half - 1) / in_half);
      for (int64_t tap = 0; tap < taps; ++tap, to += bytes * 32) {
        const uint8_t* code = codes + tap;
        uint8_t* half = to;
        for (int64_t c = 0; c < spec.inner; c += in_half, half += LANES) {
          uint8_t value = 0;
          for (int64_t i = 0; i < std::min(in_half, spec.inner - c); ++i, code += taps)
            value = static_cast<uint8_t>(value | *code << i * bits);
          *half = value;
          ++halves[value];
        }
      }
      sum_taps(spec, codes, spec.weight_units[static_cast<size_t>(w)], sums);
      for (int64_t x = 0; x < inputs; ++x) {
        LayerTerm& term = layer.terms[static_cast<size_t>(w * inputs + x)];
        int64_t zeros = 0;  // what activations of 0 look up
        for (size_t half = 0; half < halves.size(); ++half) zeros += halves[half] * start[term.tables + half];
        add_corr(spec, layer, term, o, spec.inputs[static_cast<size_t>(x)].first, sums,
                 -int64_t(term.s) * zeros);
      }
    }
  });
  return layer;
}

}  // namespace lowbit
