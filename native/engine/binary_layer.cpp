// A layer of one bit by one bit. Where it ends in one threshold its sums are compared where they are made.
#include <algorithm>
#include <optional>

#include "engine/layer.h"
#include "engine/layer_terms.h"
#include "engine/rows.h"
#include "ops/binary/select.h"
#include "ops/epilogue/select.h"
#include "ops/lanes.h"

namespace lowbit {

namespace {

constexpr int64_t ROW = TILE_BLOCKS * LANES;

// Their sums, 8 kB, share the first-level cache with weights.
constexpr int64_t SUM_PIXELS = 32;

constexpr int64_t floor_of(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

// Bits of channels as (popcount >= limit) ^ falls.
struct Limits {
  AlignedVector<int32_t> limits;  // laid out as corr
  std::vector<uint32_t> falls;    // [pairs of blocks]
  bool exact = true;              // no sum wraps around
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
  // limits: of a layer that is one threshold; else sums go to the epilogue.
  BinaryStep(const LayerSpec& spec, LayerTerms layer, Epilogue epilogue, std::optional<Limits> limits,
             Isa isa)
      : layer_(std::move(layer)),
        out_(std::move(epilogue)),
        limits_(std::move(limits)),
        rows_(spec.window, layer_.runs),
        value_(spec.inputs.front().value),
        channels_(spec.outer),
        run_epilogue_(select_epilogue(isa)) {
    const BinaryChoice choice = select_binary(isa);
    run_ = choice.run;
    static const char* const codings[] = {"and", "xor", "mask"};
    if (limits_) layer_.terms.front().corr = {};  // limits hold it
    kernel = "bits_" + std::string(codings[static_cast<int>(term().coding)]) + "1x1_" + choice.tile +
             (limits_ ? "_threshold" : "");
    const int64_t bytes_of_pixel = (spec.inner + 31) / 32 * 4;
    row_pixels_ = {bytes_of_pixel, 1, spec.inner, bytes_of_pixel, nullptr};
    at_tile_ = BINARY_PIXELS * 8;
    at_copy_ = at_tile_ + (limits_ ? 0 : SUM_PIXELS * ROW * 4);
    scratch = at_copy_ + (rows_.padded() ? round_up(rows_.bytes(bytes_of_pixel) + SLACK, 64) : 0);
    pixels = spec.window.out_pixels();
    blocks = layer_.group_blocks;
    reads = {value_};
    writes = out_.writes();
    for (int id : out_.reads()) reads.push_back(id);
    out_.share_place(*this);
    operations = 2 * pixels * spec.channels() * spec.fan_in();
    weight_bytes = static_cast<int64_t>(4 * layer_.words.size());
    bytes = weight_bytes + spec.window.height * spec.window.width * bytes_of_pixel;
  }

  void run(const Context& context, const Range& range) const override {
    const uint8_t* base = context.read(value_);
    if (rows_.padded()) {
      rows_.copy(base, context.scratch + at_copy_, row_pixels_, range.pixel, range.pixel_end);
      base = context.scratch + at_copy_;
    }
    const auto** x = reinterpret_cast<const uint8_t**>(context.scratch);
    BinaryTile t{};
    t.x = x;
    t.down = rows_.down(row_pixels_.copied_bytes);
    t.taps = static_cast<int>(layer_.taps);
    t.words = static_cast<int>(layer_.tap_words);
    t.block_words = layer_.taps * layer_.tap_words * term().w_planes * LANES;
    t.coding = term().coding;
    const Finish finish{term().w_weight.front(), 0, term().corr.empty() ? nullptr : term().corr.data(),
                        corr_at(0), nullptr};
    EpilogueTile e{};
    out_.bind(context, e);
    e.data = reinterpret_cast<int32_t*>(context.scratch + at_tile_);
    e.row_stride = ROW;
    e.terms = 1;
    e.finish = &finish;
    const int64_t most = limits_ ? BINARY_PIXELS : SUM_PIXELS;
    for (int64_t pixel = range.pixel; pixel < range.pixel_end; pixel += most) {
      t.pixels = static_cast<int>(std::min<int64_t>(most, range.pixel_end - pixel));
      rows_.starts(base, row_pixels_.copied_bytes, pixel, t.pixels, x);
      if (limits_) {
        compare(t, e.sink, pixel, range);
      } else {
        e.pixel = pixel;
        e.pixels = t.pixels;
        add_up(t, e, range);
      }
    }
  }

 private:
  const LayerTerm& term() const { return layer_.terms.front(); }

  const int32_t* corr_at(int64_t pixel) const {
    return layer_.corr_at.empty() ? nullptr : layer_.corr_at.data() + pixel;
  }

  void compare(BinaryTile& t, const Sink& sink, int64_t pixel, const Range& range) const {
    t.w = layer_.words.data() + term().weight + range.block * t.block_words;
    t.limits = limits_->limits.data() + range.block * LANES;
    t.at = corr_at(pixel);
    t.falls = limits_->falls.data() + range.block / 2;
    t.out_bytes = 4 * sink.plane_words;
    t.planes = reinterpret_cast<uint8_t*>(sink.planes) + pixel * t.out_bytes + range.block * 2;
    t.blocks = static_cast<int>(range.block_end - range.block);
    run_(t);
  }

  void add_up(BinaryTile& t, EpilogueTile& e, const Range& range) const {
    t.sums = e.data;
    t.stride = ROW;
    for (int64_t block = range.block; block < range.block_end; block += TILE_BLOCKS) {
      t.w = layer_.words.data() + term().weight + block * t.block_words;
      t.blocks = static_cast<int>(std::min<int64_t>(TILE_BLOCKS, range.block_end - block));
      run_(t);
      e.channel = static_cast<int>(block * LANES);
      e.channels = static_cast<int>(std::min<int64_t>(t.blocks * LANES, channels_ - block * LANES));
      run_epilogue_(e);
    }
  }

  LayerTerms layer_;
  Epilogue out_;
  std::optional<Limits> limits_;
  Rows rows_;
  RowPixels row_pixels_;
  int value_;
  int64_t channels_, at_tile_, at_copy_;
  BinaryKernel run_;
  EpilogueKernel run_epilogue_;
};

}  // namespace

std::unique_ptr<Step> make_binary_layer(const LayerSpec& spec, LayerTerms& layer, const Epilogue& epilogue,
                                        Isa isa) {
  if (!select_binary(isa).run || layer.terms.size() != 1) return nullptr;
  const LayerTerm& term = layer.terms.front();
  const int planes = term.coding == Coding::mask ? 2 : 1;
  const bool one_bit =
      spec.inputs.front().planes == 1 && term.w_planes == planes && term.t == 0 && term.w_weight.front() != 0;
  // A tap is a row of the kernel or a pixel of its only column.
  const bool lines = layer.runs || (spec.groups == 1 && spec.window.kernel_x == 1);
  if (!one_bit || !lines) return nullptr;
  std::optional<Limits> limits;
  if (const Stage* stage = epilogue.only_threshold()) limits = find_limits(spec, layer, *stage);
  if (limits && !limits->exact) limits.reset();
  return std::make_unique<BinaryStep>(spec, std::move(layer), epilogue, std::move(limits), isa);
}

}  // namespace lowbit
