#include "engine/layer_terms.h"

#include <algorithm>
#include <stdexcept>

#include "engine/corrections.h"
#include "ops/lanes.h"

namespace lowbit {

namespace {

// Channels of bytes beyond which a copy of the input costs what longer runs save.
constexpr int64_t LONGEST_RUN = 32;

}  // namespace

LayerTerms pack_dot8(const LayerSpec& spec) {
  LayerTerms layer;
  set_classes(spec, layer);
  const int64_t taps = spec.window.taps();
  const int64_t apart = taps * ((spec.inner + 3) / 4), together = (spec.fan_in() + 3) / 4;
  layer.runs = in_runs(spec) && spec.inner <= LONGEST_RUN;
  layer.gather =
      !layer.runs && spec.groups == 1 && taps > 1 && spec.fan_in() <= 1024 && together * 23 <= apart * 20;
  const int64_t per_run = layer.gather ? taps : layer.runs ? spec.window.kernel_x : 1;
  layer.taps = taps / per_run;
  layer.tap_words = (per_run * spec.inner + 3) / 4;
  layer.group_blocks = (spec.outer + LANES - 1) / LANES;
  const int64_t block = layer.taps * layer.tap_words * 4 * LANES;
  const int64_t all = spec.groups * layer.group_blocks * block;
  std::vector<ByteOperand> operands;
  for (const Units& units : spec.weight_units) operands.push_back(byte_operand(units));
  layer.bytes.assign(static_cast<size_t>(all * static_cast<int64_t>(operands.size())), 0);
  for (size_t w = 0; w < operands.size(); ++w) {
    if (!operands[w].fits) throw std::logic_error("weight units do not fit a byte");
    for (size_t x = 0; x < spec.inputs.size(); ++x) {
      LayerTerm term;
      term.input = static_cast<int>(x);
      term.weight = static_cast<int64_t>(w) * all;
      term.s = static_cast<int32_t>(wrap(int64_t(spec.inputs[x].slope) * operands[w].slope));
      term.t = static_cast<int32_t>(wrap(int64_t(spec.inputs[x].slope) * operands[w].first));
      term.pairs_fit = 2 * spec.inputs[x].largest * operands[w].largest <= 32767;
      layer.terms.push_back(std::move(term));
    }
  }
  std::vector<int64_t> sums;
  each_row(spec, [&](int64_t o, const uint8_t* codes) {
    const int64_t group = o / spec.outer, in_group = o % spec.outer;
    const int64_t start = (group * layer.group_blocks + in_group / LANES) * block + in_group % LANES * 4;
    for (size_t w = 0; w < operands.size(); ++w) {
      int8_t* to = layer.bytes.data() + static_cast<int64_t>(w) * all + start;
      const int8_t* table = operands[w].operand.data();
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t first = tap / per_run * layer.tap_words * 4 + tap % per_run * spec.inner;
        const uint8_t* code = codes + tap;
        for (int64_t k = first; k < first + spec.inner; ++k, code += taps)
          to[(k >> 2) * 4 * LANES + (k & 3)] = table[*code];
      }
      sum_taps(spec, codes, spec.weight_units[w], sums);
      for (size_t x = 0; x < spec.inputs.size(); ++x)
        add_corr(spec, layer, layer.terms[w * spec.inputs.size() + x], o, spec.inputs[x].first, sums, 0);
    }
  });
  if (spec.ones) add_ones(spec, layer);
  return layer;
}

LayerTerms pack_bits(const LayerSpec& spec) {
  LayerTerms layer;
  set_classes(spec, layer);
  const int64_t taps = spec.window.taps();
  layer.runs = in_runs(spec);
  const int64_t per_run = layer.runs ? spec.window.kernel_x : 1, words = (spec.inner + 31) / 32;
  layer.taps = taps / per_run;
  layer.tap_words = per_run * words;
  layer.group_blocks = (spec.outer + LANES - 1) / LANES;
  std::vector<PlaneOperand> operands;
  std::vector<int64_t> starts;
  int64_t size = 0;
  for (const Units& units : spec.weight_units) {
    operands.push_back(plane_operand(units));
    const auto planes = static_cast<int64_t>(operands.back().planes.size());
    starts.push_back(size);
    size += spec.groups * layer.group_blocks * taps * words * planes * LANES;
    for (size_t x = 0; x < spec.inputs.size(); ++x) {
      LayerTerm term;
      term.input = static_cast<int>(x);
      term.weight = starts.back();
      term.s = 1;  // the slope goes into the planes' weights, with which they are multiplied anyway
      term.coding = operands.back().coding;
      term.w_planes = static_cast<int>(planes);
      for (int32_t weight : operands.back().weight)
        term.w_weight.push_back(static_cast<int32_t>(wrap(int64_t(weight) * spec.inputs[x].slope)));
      layer.terms.push_back(std::move(term));
    }
  }
  // Bit i of planes_of[term][code]: whether the code belongs to plane i.
  std::vector<std::vector<uint32_t>> planes_of;
  for (const PlaneOperand& operand : operands) {
    planes_of.emplace_back(operand.planes[0].size(), 0);
    for (size_t i = 0; i < operand.planes.size(); ++i)
      for (size_t code = 0; code < operand.planes[i].size(); ++code)
        if (operand.planes[i][code]) planes_of.back()[code] |= 1u << i;
  }
  layer.words.assign(static_cast<size_t>(size), 0);
  std::vector<int64_t> sums;
  each_row(spec, [&](int64_t o, const uint8_t* codes) {
    const int64_t group = o / spec.outer, in_group = o % spec.outer;
    for (size_t w = 0; w < operands.size(); ++w) {
      const PlaneOperand& operand = operands[w];
      const auto planes = static_cast<int64_t>(operand.planes.size());
      const int64_t block = taps * words * planes * LANES;
      uint32_t* to = layer.words.data() + starts[w] +
                     (group * layer.group_blocks + in_group / LANES) * block + in_group % LANES;
      const std::vector<uint32_t>& members = planes_of[w];
      // Sum of weight * #negative, which the raw sum counts too much for every 1 of 2^j.
      int64_t negatives = 0;
      for (int64_t tap = 0; tap < taps; ++tap) {
        for (int64_t first = 0; first < spec.inner; first += 32, to += planes * LANES) {
          const int64_t count = std::min<int64_t>(32, spec.inner - first);
          const uint8_t* code = codes + first * taps + tap;
          uint32_t in[32];
          for (int64_t c = 0; c < count; ++c) in[c] = members[code[c * taps]];
          for (int64_t i = 0; i < planes; ++i) {
            uint32_t word = 0;
            for (int64_t c = 0; c < count; ++c) word |= (in[c] >> i & 1) << c;
            to[i * LANES] = word;
            const int64_t set = __builtin_popcount(word);
            if (operand.coding == Coding::xor_) negatives += operand.weight[static_cast<size_t>(i)] * set;
            if (operand.coding == Coding::mask && i == 1) negatives += operand.weight[0] * set;
          }
        }
      }
      sum_taps(spec, codes, spec.weight_units[w], sums);
      for (size_t x = 0; x < spec.inputs.size(); ++x) {
        const InputTerm& input = spec.inputs[x];
        const int64_t ones = (int64_t(1) << input.planes) - 1;
        add_corr(spec, layer, layer.terms[w * spec.inputs.size() + x], o, input.first, sums,
                 -int64_t(input.slope) * negatives * ones);
      }
    }
  });
  if (spec.ones) add_ones(spec, layer);
  return layer;
}

LayerTerms pack_depthwise(const LayerSpec& spec) {
  LayerTerms layer;
  set_classes(spec, layer);
  const int64_t taps = spec.window.taps(), stride = round_up(spec.channels(), LANES);
  layer.taps = taps;
  layer.group_blocks = stride / LANES;
  std::vector<Units> units = spec.weight_units;
  if (spec.ones) units.push_back(Units(256, 1));
  layer.units.assign(units.size() * static_cast<size_t>(taps * stride), 0);
  for (size_t w = 0; w < units.size(); ++w) {
    for (size_t x = 0; x < spec.inputs.size(); ++x) {
      LayerTerm term;
      term.input = static_cast<int>(x);
      term.weight = static_cast<int64_t>(w) * taps * stride;
      term.s = spec.inputs[x].slope;
      layer.terms.push_back(std::move(term));
    }
  }
  std::vector<int64_t> sums;
  each_row(spec, [&](int64_t o, const uint8_t* codes) {
    for (size_t w = 0; w < units.size(); ++w) {
      int16_t* to = layer.units.data() + static_cast<int64_t>(w) * taps * stride + o;
      for (int64_t tap = 0; tap < taps; ++tap) to[tap * stride] = static_cast<int16_t>(units[w][codes[tap]]);
      sum_taps(spec, codes, units[w], sums);
      for (size_t x = 0; x < spec.inputs.size(); ++x)
        add_corr(spec, layer, layer.terms[w * spec.inputs.size() + x], o, spec.inputs[x].first, sums, 0);
    }
  });
  return layer;
}

}  // namespace lowbit
