// Layers that unpack their weights as they go: the general integer layer and the float ones.
#include <algorithm>

#include "engine/float_layer.h"
#include "engine/layer.h"
#include "engine/unpack.h"
#include "ops/direct/params.h"
#include "ops/epilogue/select.h"
#include "ops/lanes.h"

namespace lowbit {

namespace {

// What the two have in common: for each block of 16 output channels, all pixels, tile by tile.
class UnpackingStep : public Step {
 public:
  UnpackingStep(const Window& window, int64_t groups, int64_t inner, int64_t outer, Epilogue epilogue,
                Isa isa)
      : window_(window),
        groups_(groups),
        inner_(inner),
        outer_(outer),
        out_(std::move(epilogue)),
        run_epilogue_(select_epilogue(isa)) {
    pixels = window.out_pixels();
    group_blocks_ = (outer + LANES - 1) / LANES;
    blocks = groups * group_blocks_;
    writes = out_.writes();
    for (int id : out_.reads()) reads.push_back(id);
    out_.share_place(*this);
    operations = 2 * pixels * groups * outer * inner * window.taps();
    at_tile_ = round_up(window.taps() * TILE_PIXELS * 8, 64);
  }

  void run(const Context& context, const Range& range) const override {
    const auto** pointers = reinterpret_cast<const uint8_t**>(context.scratch);
    EpilogueTile e{};
    out_.bind(context, e);
    e.data = reinterpret_cast<int32_t*>(context.scratch + at_tile_);
    e.term_stride = TILE_PIXELS * LANES;
    e.row_stride = LANES;
    e.terms = terms_;
    for (int64_t block = range.block; block < range.block_end; ++block) {
      const int64_t group = block / group_blocks_, first = block % group_blocks_ * LANES;
      e.channels = static_cast<int>(std::min<int64_t>(LANES, outer_ - first));
      e.channel = static_cast<int>(group * outer_ + first);
      unpack(context, e.channel, e.channels);
      for (int64_t pixel = range.pixel; pixel < range.pixel_end; pixel += TILE_PIXELS) {
        e.pixel = pixel;
        e.pixels = static_cast<int>(std::min<int64_t>(TILE_PIXELS, range.pixel_end - pixel));
        window_.pointers(context.read(reads[0]), groups_ * inner_ * element_, nullptr, pixel, e.pixels,
                         pointers);
        multiply(context, pointers, group * inner_, e);
        run_epilogue_(e);
      }
    }
  }

 protected:
  virtual void unpack(const Context& context, int64_t channel, int count) const = 0;
  virtual void multiply(const Context& context, const uint8_t** x, int64_t offset,
                        const EpilogueTile& e) const = 0;

  // Scratch after the tile of `terms_`, for the unpacked weights.
  uint8_t* weights(const Context& context) const {
    return context.scratch + at_tile_ + terms_ * TILE_PIXELS * LANES * 4;
  }
  void set_scratch(int64_t weight_bytes) {
    scratch = at_tile_ + terms_ * TILE_PIXELS * LANES * 4 + round_up(weight_bytes, 64);
  }

  Window window_;
  int64_t groups_, inner_, outer_, group_blocks_, at_tile_;
  int64_t element_ = 1;  // bytes of one input channel
  int terms_ = 1;
  Epilogue out_;
  EpilogueKernel run_epilogue_;
};

class DirectStep : public UnpackingStep {
 public:
  DirectStep(LayerSpec spec, std::vector<Units> input_units, bool codebook, Epilogue epilogue, Isa isa)
      : UnpackingStep(spec.window, spec.groups, spec.inner, spec.outer, std::move(epilogue), isa),
        codebook_(codebook) {
    kernel = "direct_i32_1x1_portable";
    reads.insert(reads.begin(), spec.inputs[0].value);
    packed_.assign(spec.packed, spec.packed + (spec.channels() * spec.fan_in() * spec.bits + 7) / 8);
    bytes = weight_bytes = static_cast<int64_t>(packed_.size());
    bits_ = spec.bits;
    ones_ = spec.ones;
    w_terms_ = static_cast<int>(spec.weight_units.size());
    w_codes_ = static_cast<int>(spec.weight_units[0].size());
    x_terms_ = static_cast<int>(input_units.size());
    x_codes_ = static_cast<int>(input_units[0].size());
    if (!codebook)
      for (const Units& units : spec.weight_units)
        w_units_.insert(w_units_.end(), units.begin(), units.end());
    for (const Units& units : input_units) x_units_.insert(x_units_.end(), units.begin(), units.end());
    terms_ = (w_terms_ + (ones_ ? 1 : 0)) * x_terms_;
    set_scratch(LANES * spec.fan_in());
  }

 protected:
  void unpack(const Context& context, int64_t channel, int count) const override {
    const int64_t row = inner_ * window_.taps();
    unpack_codes(packed_.data(), bits_, channel * row, count * row, weights(context));
  }

  void multiply(const Context& context, const uint8_t** x, int64_t offset,
                const EpilogueTile& e) const override {
    direct_i32_1x1_portable({x, offset, static_cast<int>(window_.taps()), static_cast<int>(inner_),
                             weights(context), e.channels, x_units_.data(),
                             codebook_ ? nullptr : w_units_.data(), x_terms_, x_codes_, w_terms_, w_codes_,
                             ones_, e.data, e.term_stride, LANES, e.pixels});
  }

 private:
  std::vector<uint8_t> packed_;
  std::vector<int32_t> w_units_, x_units_;
  int bits_, w_terms_, w_codes_, x_terms_, x_codes_;
  bool ones_, codebook_;
};

class FloatStep : public UnpackingStep {
 public:
  FloatStep(FloatSpec spec, Epilogue epilogue, Isa isa)
      : UnpackingStep(spec.window, spec.groups, spec.inner, spec.outer, std::move(epilogue), isa),
        spec_(std::move(spec)) {
    kernel = spec_.bits ? "float_w" + std::to_string(spec_.bits) + "_1x1_portable" : "float_w32_1x1_portable";
    reads.insert(reads.begin(), spec_.input);
    element_ = 4;
    bytes = weight_bytes = static_cast<int64_t>(spec_.packed.size());
    row_ = inner_ * window_.taps();
    at_codes_ = round_up(LANES * row_ * 4, 64);
    set_scratch(at_codes_ + (spec_.bits ? round_up(row_, 64) + 1024 : 0));
  }

 protected:
  // weights [lane][tap][inner] as floats
  void unpack(const Context& context, int64_t channel, int count) const override {
    auto* to = reinterpret_cast<float*>(weights(context));
    uint8_t* codes = weights(context) + at_codes_;
    auto* values = reinterpret_cast<float*>(codes + round_up(row_, 64));
    const int64_t taps = window_.taps();
    for (int lane = 0; lane < count; ++lane, to += row_) {
      const int64_t o = channel + lane;
      if (spec_.bits) {
        spec_.values(o, values);
        unpack_codes(spec_.packed.data(), spec_.bits, o * row_, row_, codes);
        for (int64_t c = 0; c < inner_; ++c)
          for (int64_t tap = 0; tap < taps; ++tap) to[tap * inner_ + c] = values[codes[c * taps + tap]];
      } else {
        const uint8_t* from = spec_.packed.data() + o * row_ * 4;
        for (int64_t c = 0; c < inner_; ++c)
          for (int64_t tap = 0; tap < taps; ++tap)
            __builtin_memcpy(to + tap * inner_ + c, from + 4 * (c * taps + tap), 4);
      }
    }
  }

  void multiply(const Context& context, const uint8_t** x, int64_t offset,
                const EpilogueTile& e) const override {
    float_direct_1x1_portable({reinterpret_cast<const float* const*>(x), offset,
                               static_cast<int>(window_.taps()), static_cast<int>(inner_),
                               reinterpret_cast<const float*>(weights(context)), e.channels,
                               reinterpret_cast<float*>(e.data), LANES, e.pixels});
  }

 private:
  FloatSpec spec_;
  int64_t row_, at_codes_;
};

}  // namespace

void FloatSpec::values(int64_t channel, float* out) const {
  // total = unit0 * scale0, + unit1 * scale1 ..., + offset, each rounded (grid.Grid.values)
  const int64_t codes = static_cast<int64_t>(units[0].size());
  for (int64_t code = 0; code < codes; ++code) {
    float total = 0;
    for (size_t term = 0; term < units.size(); ++term) {
      const float scale =
          scales[term * static_cast<size_t>(width) + static_cast<size_t>(width == 1 ? 0 : channel)];
      const float part = static_cast<float>(units[term][static_cast<size_t>(code)]) * scale;
      total = term ? total + part : part;
    }
    if (!offsets.empty()) total = total + offsets[offsets.size() == 1 ? 0 : static_cast<size_t>(channel)];
    out[code] = total;
  }
}

std::unique_ptr<Step> make_direct(LayerSpec spec, std::vector<Units> input_units, bool codebook,
                                  Epilogue epilogue, Isa isa) {
  return std::make_unique<DirectStep>(std::move(spec), std::move(input_units), codebook, std::move(epilogue),
                                      isa);
}

std::unique_ptr<Step> make_float_layer(FloatSpec spec, Epilogue epilogue, Isa isa) {
  return std::make_unique<FloatStep>(std::move(spec), std::move(epilogue), isa);
}

}  // namespace lowbit
