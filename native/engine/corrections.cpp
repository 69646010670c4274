#include "engine/corrections.h"

#include "ops/lanes.h"

namespace lowbit {

void set_classes(const LayerSpec& spec, LayerTerms& layer) {
  const Window& w = spec.window;
  const bool padded = w.mode == PadMode::zeros && (w.pad_y || w.pad_x);
  bool shifted = false;
  for (const InputTerm& input : spec.inputs) shifted = shifted || input.first != 0;
  if (padded && shifted) {
    layer.rows = pad_classes(w.out_height, w.kernel_y, w.stride_y, w.pad_y, w.dilation_y, w.height);
    layer.columns = pad_classes(w.out_width, w.kernel_x, w.stride_x, w.pad_x, w.dilation_x, w.width);
    const auto columns = static_cast<int32_t>(layer.columns.valid.size());
    layer.classes = static_cast<int64_t>(layer.rows.valid.size()) * columns;
    for (int32_t row : layer.rows.of)
      for (int32_t column : layer.columns.of)
        layer.corr_at.push_back(static_cast<int32_t>((row * columns + column) * (spec.channels() + LANES)));
  }
}

void add_corr(const LayerSpec& spec, const LayerTerms& layer, LayerTerm& term, int64_t o, int32_t first,
              const std::vector<int64_t>& tap_units, int64_t constant) {
  const int64_t stride = spec.channels() + LANES;
  if (term.corr.empty()) {
    if (first == 0 && constant == 0) return;
    term.corr.assign(static_cast<size_t>(layer.classes * stride), 0);
  }
  const int64_t kx = spec.window.kernel_x, ky = spec.window.kernel_y;
  for (int64_t k = 0; k < layer.classes; ++k) {
    int64_t sum = 0;
    const auto columns = static_cast<int64_t>(layer.columns.valid.size());
    for (int64_t i = 0; i < ky; ++i) {
      if (!layer.rows.valid.empty() &&
          !layer.rows.valid[static_cast<size_t>(k / columns)][static_cast<size_t>(i)])
        continue;
      for (int64_t j = 0; j < kx; ++j) {
        if (!layer.rows.valid.empty() &&
            !layer.columns.valid[static_cast<size_t>(k % columns)][static_cast<size_t>(j)])
          continue;
        sum += tap_units[static_cast<size_t>(i * kx + j)];
      }
    }
    int32_t& at = term.corr[static_cast<size_t>(k * stride + o)];
    at = static_cast<int32_t>(wrap(at) + wrap(first) * wrap(sum) + wrap(constant));
  }
}

void sum_taps(const LayerSpec& spec, const uint8_t* codes, const Units& units, std::vector<int64_t>& sums) {
  const int64_t taps = spec.window.taps();
  sums.assign(static_cast<size_t>(taps), 0);
  bool needed = false;
  for (const InputTerm& input : spec.inputs) needed = needed || input.first != 0;
  if (!needed) return;
  // Codes are [inner][taps]. Where a unit is first + slope * code, codes of 16 channels are added side by
  // side, in a loop over neighbours in memory; what is left is looked up.
  const int64_t first = units[0], slope = units.size() > 1 ? int64_t(units[1]) - first : 0;
  bool even = true;
  for (size_t i = 0; i < units.size(); ++i)
    even = even && units[i] == first + slope * static_cast<int64_t>(i);
  const int64_t wide = 16 * taps, total = spec.fan_in();
  int64_t at = 0;
  if (even && total >= wide) {
    std::vector<uint32_t> columns(static_cast<size_t>(wide));
    for (; at + wide <= total; at += wide)
      for (int64_t j = 0; j < wide; ++j) columns[static_cast<size_t>(j)] += codes[at + j];
    for (int64_t j = 0; j < wide; ++j)
      sums[static_cast<size_t>(j % taps)] += slope * columns[static_cast<size_t>(j)];
    for (int64_t& sum : sums) sum += first * (at / taps);
  }
  for (int64_t tap = 0; at < total; ++at, tap = tap + 1 < taps ? tap + 1 : 0)
    sums[static_cast<size_t>(tap)] += units[codes[at]];
}

void add_ones(const LayerSpec& spec, LayerTerms& layer) {
  for (size_t x = 0; x < spec.inputs.size(); ++x) {
    LayerTerm term;
    term.input = static_cast<int>(x);
    term.t = spec.inputs[x].slope;
    const std::vector<int64_t> taps(static_cast<size_t>(spec.window.taps()), spec.inner);
    for (int64_t o = 0; o < spec.channels(); ++o)
      add_corr(spec, layer, term, o, spec.inputs[x].first, taps, 0);
    layer.terms.push_back(std::move(term));
  }
}

}  // namespace lowbit
