// A layer of one bit by one bit that ends in one threshold: its sums are compared where they are made.
#include <algorithm>

#include "engine/layer.h"
#include "engine/layer_terms.h"
#include "engine/rows.h"
#include "ops/binary/select.h"
#include "ops/lanes.h"

namespace lowbit {

namespace {

constexpr int64_t floor_of(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

// Bits of channels as (popcount >= limit) ^ falls.
struct Limits {
  std::vector<int32_t> limits;  // laid out as corr
  std::vector<uint32_t> falls;  // [pairs of blocks]
  bool exact = true;            // no sum wraps around
};

Limits find_limits(const LayerSpec& spec, const LayerTerms& layer, const Stage& stage) {
  const LayerTerm& term = layer.terms.front();
  const int64_t channels = spec.channels(), most = spec.fan_in(), weight = term.w_weight.front();
  Limits found;
  const int64_t stride = channels + LANES;
  found.limits.assign(static_cast<size_t>(layer.classes * stride), static_cast<int32_t>(most + 1));
  found.falls.assign(static_cast<size_t>((channels + 31) / 32), 0);
  for (int64_t k = 0; k < layer.classes; ++k) {
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t corr = term.corr.empty() ? 0 : term.corr[static_cast<size_t>(k * stride + c)];
      for (int64_t acc : {corr, corr + weight * most})
        found.exact = found.exact && acc == static_cast<int32_t>(acc);
      const int64_t flip = stage.flip ? stage.flip[c * stage.step] : 0, t = stage.t[c * stage.step] ^ flip;
      // With n ones acc = weight * n + corr. Falling or negative, not both, is the opposite of n >= limit:
      //   acc >= t, weight > 0: n >= ceil((t - corr) / weight)      acc <= t: not acc >= t + 1
      //   acc <= t, weight < 0: n >= ceil((t - corr) / weight)      acc >= t: not acc <= t - 1
      const bool opposite = (flip != 0) != (weight < 0);
      const int64_t reached = t + (opposite ? (weight > 0 ? 1 : -1) : 0);
      const int64_t limit = -floor_of(corr - reached, weight);
      found.limits[static_cast<size_t>(k * stride + c)] =
          static_cast<int32_t>(std::clamp<int64_t>(limit, 0, most + 1));
      if (opposite) found.falls[static_cast<size_t>(c / 32)] |= 1u << c % 32;
    }
  }
  return found;
}

class BinaryStep : public Step {
 public:
  BinaryStep(const LayerSpec& spec, const LayerTerms& layer, const Epilogue& epilogue, Limits limits, Isa isa)
      : term_(layer.terms.front()),
        taps_(layer.taps),
        tap_words_(layer.tap_words),
        words_(layer.words),
        corr_at_(layer.corr_at),
        limits_(std::move(limits)),
        rows_(spec.window, layer.runs),
        value_(spec.inputs.front().value),
        planes_(epilogue.planes),
        out_bytes_(4 * epilogue.plane_words) {
    const BinaryChoice choice = select_binary(isa);
    run_ = choice.run;
    static const char* const codings[] = {"and", "xor", "mask"};
    kernel =
        "bits_" + std::string(codings[static_cast<int>(term_.coding)]) + "1x1_" + choice.tile + "_threshold";
    const int64_t bytes_of_pixel = (spec.inner + 31) / 32 * 4;
    row_pixels_ = {bytes_of_pixel, 1, spec.inner, bytes_of_pixel, nullptr};
    at_copy_ = BINARY_PIXELS * 8;
    scratch = at_copy_ + (rows_.padded() ? round_up(rows_.bytes(bytes_of_pixel) + SLACK, 64) : 0);
    pixels = spec.window.out_pixels();
    blocks = layer.group_blocks;
    reads = {value_};
    writes = {planes_};
    operations = 2 * pixels * spec.channels() * spec.fan_in();
    weight_bytes = static_cast<int64_t>(4 * words_.size());
    bytes = weight_bytes + spec.window.height * spec.window.width * bytes_of_pixel;
  }

  void run(const Context& context, const Range& range) const override {
    const auto** x = reinterpret_cast<const uint8_t**>(context.scratch);
    const uint8_t* base = context.read(value_);
    if (rows_.padded()) {
      rows_.copy(base, context.scratch + at_copy_, row_pixels_, range.pixel, range.pixel_end);
      base = context.scratch + at_copy_;
    }
    const int64_t size = taps_ * tap_words_ * term_.w_planes * LANES;
    BinaryTile t{};
    t.x = x;
    t.down = rows_.down(row_pixels_.copied_bytes);
    t.taps = static_cast<int>(taps_);
    t.words = static_cast<int>(tap_words_);
    t.w = words_.data() + term_.weight + range.block * size;
    t.block_words = size;
    t.coding = term_.coding;
    t.limits = limits_.limits.data() + range.block * LANES;
    t.falls = limits_.falls.data() + range.block / 2;
    t.out_bytes = out_bytes_;
    t.blocks = static_cast<int>(range.block_end - range.block);
    for (int64_t pixel = range.pixel; pixel < range.pixel_end; pixel += BINARY_PIXELS) {
      t.pixels = static_cast<int>(std::min<int64_t>(BINARY_PIXELS, range.pixel_end - pixel));
      rows_.starts(base, row_pixels_.copied_bytes, pixel, t.pixels, x);
      t.at = corr_at_.empty() ? nullptr : corr_at_.data() + pixel;
      t.planes = context.write(planes_) + pixel * out_bytes_ + range.block * 2;
      run_(t);
    }
  }

 private:
  LayerTerm term_;
  int64_t taps_, tap_words_;
  std::vector<uint32_t> words_;
  std::vector<int32_t> corr_at_;
  Limits limits_;
  Rows rows_;
  RowPixels row_pixels_;
  int value_, planes_;
  int64_t out_bytes_, at_copy_;
  BinaryKernel run_;
};

}  // namespace

std::unique_ptr<Step> make_binary_layer(const LayerSpec& spec, const LayerTerms& layer,
                                        const Epilogue& epilogue, Isa isa) {
  const Stage* stage = epilogue.only_threshold();
  if (!stage || !select_binary(isa).run || layer.terms.size() != 1) return nullptr;
  const LayerTerm& term = layer.terms.front();
  const int planes = term.coding == Coding::mask ? 2 : 1;
  const bool one_bit =
      spec.inputs.front().planes == 1 && term.w_planes == planes && term.t == 0 && term.w_weight.front() != 0;
  // A tap is a row of the kernel or a pixel of its only column.
  const bool lines = layer.runs || (spec.groups == 1 && spec.window.kernel_x == 1);
  if (!one_bit || !lines) return nullptr;
  Limits limits = find_limits(spec, layer, *stage);
  if (!limits.exact) return nullptr;
  return std::make_unique<BinaryStep>(spec, layer, epilogue, std::move(limits), isa);
}

}  // namespace lowbit
