// What is added to raw sums: constants for every class of output pixels, from the units of weights and
// inputs.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/layer_terms.h"
#include "engine/unpack.h"

namespace lowbit {

// Calls visit(output channel, codes of its weights [inner][taps]).
template <class Visit>
void each_row(const LayerSpec& spec, Visit visit) {
  std::vector<uint8_t> row(static_cast<size_t>(spec.fan_in()));
  for (int64_t o = 0; o < spec.channels(); ++o) {
    unpack_codes(spec.packed, spec.bits, o * spec.fan_in(), spec.fan_in(), row.data());
    visit(o, row.data());
  }
}

inline uint32_t wrap(int64_t v) { return static_cast<uint32_t>(static_cast<uint64_t>(v)); }

// Row and column classes, needed where a padded tap (operand 0) is not unit 0.
void set_classes(const LayerSpec& spec, LayerTerms& layer);

// corr[class][o] += first * sum of tap_units over the taps that class keeps, and + constant.
void add_corr(const LayerSpec& spec, const LayerTerms& layer, LayerTerm& term, int64_t o, int32_t first,
              const std::vector<int64_t>& tap_units, int64_t constant);

// sums[tap] = sum over the input channels of the units of one output channel; zeros where nothing needs them.
void sum_taps(const LayerSpec& spec, const uint8_t* codes, const Units& units, std::vector<int64_t>& sums);

// The term of a real offset: the sum of the input units, for every output channel.
void add_ones(const LayerSpec& spec, LayerTerms& layer);

}  // namespace lowbit
