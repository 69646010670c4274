#include <algorithm>
#include <cstdlib>
#include <cstring>
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

// The operand, doubled where it has to be, that is unit 0: padded with it all output pixels are alike.
bool find_padding(const InputTerm& input, CopyPadding& found) {
  for (const int64_t slope : {int64_t(input.slope), int64_t(input.slope) / 2}) {
    found.doubled = slope != input.slope;
    if (slope == 0 || (found.doubled && (input.slope % 2 || input.largest > 127))) continue;
    const int64_t zero = -int64_t(input.first) / slope;
    found.value = static_cast<uint8_t>(zero);
    if (zero * slope == -int64_t(input.first) && zero >= 0 && zero <= 255) return true;
  }
  return false;
}

// All inputs by find_padding(), or by zeros and a class for every set of taps that are padded.
void set_padding(const LayerSpec& spec, LayerTerms& layer) {
  const Window& w = spec.window;
  layer.padding.resize(spec.inputs.size());
  bool found = true;
  if (w.mode != PadMode::zeros || (w.pad_y == 0 && w.pad_x == 0)) return;
  for (size_t x = 0; x < spec.inputs.size(); ++x)
    found = find_padding(spec.inputs[x], layer.padding[x]) && found;
  if (!found) {
    layer.padding.assign(spec.inputs.size(), {});
    set_classes(spec, layer);
  }
}

// A factor of the products goes into the weights where they stay bytes.
void scale_table(LayerTerm& term) {
  for (int8_t operand : term.table)
    if (std::abs(int64_t(operand) * term.s) > 127) return;
  for (int8_t& operand : term.table) operand = static_cast<int8_t>(operand * term.s);
  term.s = 1;
}

// Writes the codes of one output channel, of four operands at a time, into tiles that hold zeros there.
template <int BITS>
void put_channel(const uint8_t* row, const int32_t* source, int64_t tiles, int column, uint8_t* to) {
  for (; tiles > 0; --tiles, to += tile_bytes(BITS)) {
    for (int quad = 0; quad < TILE_ROWS; ++quad, source += 4) {
      const uint32_t codes = row[source[0]] | uint32_t(row[source[1]]) << 8 | uint32_t(row[source[2]]) << 16 |
                             uint32_t(row[source[3]]) << 24;
      const CodeAt at = code_at(BITS, quad, column);
      if constexpr (BITS == 1) {
        // Bit 0 of each of four bytes moves to bits 24..27; no two products of this multiplication share a
        // bit.
        const uint32_t four = codes * 0x01020408u >> 24 & 15;
        to[at.byte] = static_cast<uint8_t>(to[at.byte] | four << at.shift);
      } else {
        uint32_t there;
        std::memcpy(&there, to + at.byte, 4);
        there |= codes << at.shift;
        std::memcpy(to + at.byte, &there, 4);
      }
    }
  }
}

}  // namespace

LayerTerms pack_tile8(const LayerSpec& spec, const std::vector<KStep>& steps) {
  LayerTerms layer;
  set_padding(spec, layer);
  const int64_t taps = spec.window.taps(), fan_in = spec.fan_in(), count = static_cast<int64_t>(steps.size());
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
      const int64_t slope = layer.padding[x].doubled ? spec.inputs[x].slope / 2 : spec.inputs[x].slope;
      term.s = static_cast<int32_t>(wrap(slope * operand.slope));
      term.t = static_cast<int32_t>(wrap(int64_t(spec.inputs[x].slope) * operand.first));
      term.bits = packings.back().bits;
      if (term.bits != 8) {
        std::copy(operand.operand.begin(), operand.operand.end(), term.table.begin());
        scale_table(term);
      }
      layer.terms.push_back(std::move(term));
    }
    size += spec.groups * layer.group_blocks * count * tile_bytes(packings.back().bits);
  }
  // Weights of the last block are prefetched past their end.
  layer.tiles.assign(static_cast<size_t>(size + 64), 0);
  // Where the codes of every step are in a row of weights; after its end for bytes that are no channel.
  std::vector<int32_t> sources;
  for (const KStep& step : steps) {
    for (int64_t i = 0; i < STEP_BYTES; ++i) {
      const int64_t at = step.first + i;
      sources.push_back(static_cast<int32_t>(
          i < step.count ? at % spec.inner * taps + step.tap + at / spec.inner : fan_in));
    }
  }
  std::vector<int64_t> sums;
  std::vector<uint8_t> row(static_cast<size_t>(fan_in + 1));
  each_row(spec, [&](int64_t o, const uint8_t* codes) {
    const int64_t in_group = o % spec.outer, lane = in_group % LANES;
    const int64_t block = o / spec.outer * layer.group_blocks + in_group / LANES;
    for (size_t w = 0; w < operands.size(); ++w) {
      const Packing& pack = packings[w];
      LayerTerm* term = &layer.terms[w * spec.inputs.size()];
      if (pack.bits == 8)
        for (int64_t i = 0; i < fan_in; ++i)
          row[size_t(i)] = static_cast<uint8_t>(operands[w].operand[codes[i]]);
      else
        std::copy(codes, codes + fan_in, row.begin());
      row[size_t(fan_in)] = pack.zero;
      uint8_t* to = layer.tiles.data() + term->weight + block * count * tile_bytes(pack.bits);
      const auto put = pack.bits == 1   ? put_channel<1>
                       : pack.bits == 2 ? put_channel<2>
                       : pack.bits == 4 ? put_channel<4>
                                        : put_channel<8>;
      put(row.data(), sources.data(), count, static_cast<int>(4 * lane), to);
      sum_taps(spec, codes, spec.weight_units[w], sums);
      for (size_t x = 0; x < spec.inputs.size(); ++x)
        add_corr(spec, layer, term[x], o, spec.inputs[x].first, sums, 0);
    }
  });
  return layer;
}

}  // namespace lowbit
