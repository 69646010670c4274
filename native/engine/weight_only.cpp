// Layers with float activations and packed weights on a grid of one term: sums of units times floats in a
// defined order, see ops/floats/params.h. Scales are the epilogue's.
#include <algorithm>

#include "engine/aligned.h"
#include "engine/float_layer.h"
#include "engine/unpack.h"
#include "ops/epilogue/select.h"
#include "ops/floats/select.h"
#include "ops/lanes.h"

namespace lowbit {

namespace {

constexpr int64_t ROW = TILE_BLOCKS * LANES;

class WeightOnlyStep : public Step {
 public:
  WeightOnlyStep(const FloatSpec& spec, Epilogue epilogue, Isa isa)
      : window_(spec.window),
        groups_(spec.groups),
        inner_(spec.inner),
        outer_(spec.outer),
        bits_(spec.bits <= 4 ? spec.bits : 8),
        out_(std::move(epilogue)),
        run_epilogue_(select_epilogue(isa)),
        run_(select_floats(isa).run) {
    kernel = "floats_w" + std::to_string(bits_) + "_" + select_floats(isa).tile;
    reads = {spec.input};
    writes = out_.writes();
    for (int id : out_.reads()) reads.push_back(id);
    out_.share_place(*this);
    pixels = window_.out_pixels();
    group_blocks_ = (outer_ + LANES - 1) / LANES;
    blocks = groups_ * group_blocks_;
    words_ = (inner_ + per_word(bits_) - 1) / per_word(bits_);
    pack(spec);
    operations = 2 * pixels * groups_ * outer_ * inner_ * window_.taps();
    zeros = groups_ * inner_ * 4;
    weight_bytes = static_cast<int64_t>(4 * weights_.size());
    bytes = weight_bytes + window_.height * window_.width * zeros;
    at_tile_ = round_up(window_.taps() * TILE_PIXELS * 8, 64);
    scratch = at_tile_ + TILE_PIXELS * ROW * 4;
  }

  void run(const Context& context, const Range& range) const override {
    auto** pointers = reinterpret_cast<const uint8_t**>(context.scratch);
    EpilogueTile e{};
    out_.bind(context, e);
    e.data = reinterpret_cast<int32_t*>(context.scratch + at_tile_);
    e.term_stride = TILE_PIXELS * ROW;
    e.row_stride = ROW;
    e.terms = 1;
    FloatsTile t{};
    t.x = reinterpret_cast<const float* const*>(pointers);
    t.taps = static_cast<int>(window_.taps());
    t.inner = static_cast<int>(inner_);
    t.block_words = window_.taps() * words_ * LANES;
    t.bits = bits_;
    t.table = table_;
    t.affine = affine_;
    t.slope = slope_;
    t.first = first_;
    t.out = reinterpret_cast<float*>(e.data);
    t.stride = ROW;
    for (int64_t pixel = range.pixel; pixel < range.pixel_end; pixel += TILE_PIXELS) {
      e.pixel = pixel;
      e.pixels = t.pixels = static_cast<int>(std::min<int64_t>(TILE_PIXELS, range.pixel_end - pixel));
      window_.pointers(context.read(reads[0]), zeros, context.zeros, pixel, e.pixels, pointers);
      for (int64_t block = range.block; block < range.block_end;) {
        const int64_t group = block / group_blocks_, at = block % group_blocks_;
        const int64_t wide = std::min({int64_t(TILE_BLOCKS), group_blocks_ - at, range.block_end - block});
        t.offset = group * inner_;
        t.w = weights_.data() + block * t.block_words;
        t.blocks = static_cast<int>(wide);
        run_(t);
        e.channel = static_cast<int>(group * outer_ + at * LANES);
        e.channels = static_cast<int>(std::min(wide * LANES, outer_ - at * LANES));
        run_epilogue_(e);
        block += wide;
      }
    }
  }

 private:
  // From [out][inner][taps] codes back to back to words of 16 channels' codes; channels that are none have
  // code 0.
  void pack(const FloatSpec& spec) {
    const Units& units = spec.units[0];
    first_ = units[0];
    slope_ = units.size() > 1 ? units[1] - units[0] : 1;
    affine_ = true;
    for (size_t i = 0; i < units.size(); ++i)
      affine_ = affine_ && units[i] == first_ + slope_ * static_cast<int32_t>(i);
    for (size_t i = 0; i < 16; ++i) {
      const size_t code = i & ((size_t{1} << std::min(bits_, 4)) - 1);
      table_[i] = code < units.size() ? static_cast<float>(units[code]) : 0;
    }
    const int64_t taps = window_.taps(), per = per_word(bits_), row = inner_ * taps;
    weights_.assign(static_cast<size_t>(blocks * taps * words_ * LANES), 0);
    std::vector<uint8_t> codes(static_cast<size_t>(row));
    for (int64_t channel = 0; channel < groups_ * outer_; ++channel) {
      unpack_codes(spec.packed.data(), spec.bits, channel * row, row, codes.data());
      const int64_t group = channel / outer_, o = channel % outer_;
      uint32_t* to =
          weights_.data() + (group * group_blocks_ + o / LANES) * taps * words_ * LANES + o % LANES;
      for (int64_t c = 0; c < inner_; ++c)
        for (int64_t tap = 0; tap < taps; ++tap)
          to[(tap * words_ + c / per) * LANES] |=
              static_cast<uint32_t>(codes[static_cast<size_t>(c * taps + tap)]) << (c % per * bits_);
    }
  }

  Window window_;
  int64_t groups_, inner_, outer_, group_blocks_ = 0, words_ = 0, at_tile_ = 0;
  int bits_;
  Epilogue out_;
  EpilogueKernel run_epilogue_;
  FloatsKernel run_;
  AlignedVector<uint32_t> weights_;
  float table_[16];
  bool affine_ = false;
  int32_t slope_ = 1, first_ = 0;
};

}  // namespace

std::unique_ptr<Step> make_weight_only(const FloatSpec& spec, Epilogue epilogue, Isa isa) {
  return std::make_unique<WeightOnlyStep>(spec, std::move(epilogue), isa);
}

}  // namespace lowbit
