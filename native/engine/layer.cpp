#include "engine/layer.h"

#include <algorithm>
#include <stdexcept>

#include "engine/layer_terms.h"
#include "engine/rows.h"
#include "ops/epilogue/select.h"
#include "ops/lanes.h"

namespace lowbit {

namespace {

enum class Kind { dot8, bits, nibbles1, nibbles2, depthwise };

constexpr int64_t ROW = TILE_BLOCKS * LANES;

// Bytes of weights that stay in a second-level cache of 1 MB beside what else a layer touches, and how many
// are taken at a time where they would not. Planes, an eighth to a half of the bytes a product, gain nothing
// by it.
constexpr int64_t KEPT_BYTES = 640 * 1024, PART_BYTES = 256 * 1024;

class LayerStep : public Step {
 public:
  LayerStep(Kind kind, LayerSpec spec, LayerTerms layer, Epilogue epilogue, Isa isa)
      : kind_(kind),
        spec_(std::move(spec)),
        layer_(std::move(layer)),
        out_(std::move(epilogue)),
        rows_(spec_.window, layer_.runs),
        pointers_(rows_.taps()),
        copies_(kind == Kind::nibbles2 || (layer_.runs && rows_.padded())) {
    run_epilogue_ = select_epilogue(isa);
    run_bits_ = select_bits(isa).run;
    run_nibbles_ = select_nibbles(isa).run;
    run_depthwise_ = select_depthwise(isa).run;
    for (const LayerTerm& term : layer_.terms) run_dot_.push_back(select_dot8(isa, term.pairs_fit).run);
    kernel = kernel_name(isa);
    const auto inputs = static_cast<int64_t>(spec_.inputs.size()),
               terms = static_cast<int64_t>(layer_.terms.size());
    gathered_ = round_up(layer_.tap_words * 4 + 16, 64);
    at_tile_ = round_up(inputs * pointers_ * TILE_PIXELS * 8, 64);
    at_gather_ = at_tile_ + terms * TILE_PIXELS * ROW * 4;
    at_gather_pointers_ = at_gather_ + (layer_.gather ? inputs * TILE_PIXELS * gathered_ : 0);
    at_sums_ = at_gather_pointers_ + (layer_.gather ? round_up(inputs * TILE_PIXELS * 8, 64) : 0);
    at_finish_ = at_sums_ + round_up(inputs * TILE_PIXELS * 4, 64);
    scratch = at_finish_ + round_up(terms * static_cast<int64_t>(sizeof(Finish)), 64);
    for (const InputTerm& input : spec_.inputs) {
      at_copy_.push_back(scratch);
      const int64_t copied =
          kind == Kind::nibbles2 ? spec_.groups * nibble_bytes(spec_.inner, 2) : pixel_bytes(input);
      row_pixels_.push_back({pixel_bytes(input), spec_.groups, spec_.inner, copied,
                             kind == Kind::nibbles2 ? select_nibbles(isa).pack : nullptr});
      if (copies_) scratch += round_up(rows_.bytes(copied) + SLACK, 64);
    }
    pixels = spec_.window.out_pixels();
    if (kind == Kind::depthwise) {
      groups_ = 1;
      outer_ = spec_.channels();
    } else {
      groups_ = spec_.groups;
      outer_ = spec_.outer;
    }
    blocks = groups_ * layer_.group_blocks;
    for (const InputTerm& input : spec_.inputs) {
      reads.push_back(input.value);
      zeros = std::max(zeros, pixel_bytes(input));
    }
    writes = out_.writes();
    for (int id : out_.reads()) reads.push_back(id);
    out_.share_place(*this);
    operations = 2 * pixels * spec_.channels() * spec_.fan_in();
    weight_bytes = static_cast<int64_t>(layer_.bytes.size() + 4 * layer_.words.size() +
                                        2 * layer_.units.size() + layer_.tiles.size());
    bytes = weight_bytes + spec_.window.height * spec_.window.width * zeros;
    part_ = blocks;
    if (kind == Kind::dot8 && weight_bytes > KEPT_BYTES)
      part_ =
          std::min(blocks, round_up(std::max<int64_t>(1, PART_BYTES * blocks / weight_bytes), TILE_BLOCKS));
    for (const LayerTerm& term : layer_.terms)
      finish_ = finish_ || term.weight < 0 || term.s != 1 || term.t != 0 || !term.corr.empty();
  }

  void run(const Context& context, const Range& range) const override {
    if (copies_)
      for (size_t x = 0; x < spec_.inputs.size(); ++x)
        rows_.copy(context.read(spec_.inputs[x].value), context.scratch + at_copy_[x], row_pixels_[x],
                   range.pixel, range.pixel_end);
    // Every tile of pixels reads all weights: from the cache, if these are a part of them at a time.
    const int64_t part = range.pixel_end - range.pixel > TILE_PIXELS ? part_ : blocks;
    for (int64_t block = range.block; block < range.block_end; block += part)
      run_blocks(context, {range.pixel, range.pixel_end, block, std::min(block + part, range.block_end)});
  }

 private:
  void run_blocks(const Context& context, const Range& range) const {
    auto** pointers = reinterpret_cast<const uint8_t**>(context.scratch);
    auto* tile = reinterpret_cast<int32_t*>(context.scratch + at_tile_);
    auto* sums = reinterpret_cast<int32_t*>(context.scratch + at_sums_);
    auto* finish = reinterpret_cast<Finish*>(context.scratch + at_finish_);
    EpilogueTile e{};
    out_.bind(context, e);
    e.data = tile;
    e.term_stride = TILE_PIXELS * ROW;
    e.row_stride = ROW;
    e.terms = static_cast<int>(layer_.terms.size());
    e.finish = finish_ ? finish : nullptr;
    if (finish_) find_corr(finish, sums);
    for (int64_t pixel = range.pixel; pixel < range.pixel_end; pixel += TILE_PIXELS) {
      const int count = static_cast<int>(std::min<int64_t>(TILE_PIXELS, range.pixel_end - pixel));
      for (size_t x = 0; x < spec_.inputs.size(); ++x)
        find_pointers(context, x, pixel, count, pointers + static_cast<int64_t>(x) * pointers_ * TILE_PIXELS);
      if (layer_.gather) gather(context, pointers, count);
      e.pixel = pixel;
      e.pixels = count;
      for (int64_t group = 0; group < groups_; ++group) {
        const int64_t first = group * layer_.group_blocks;
        const int64_t stop = std::min(layer_.group_blocks, range.block_end - first);
        bool summed = false;
        for (int64_t block = std::max<int64_t>(0, range.block - first); block < stop; block += TILE_BLOCKS) {
          const int wide = static_cast<int>(std::min<int64_t>(TILE_BLOCKS, stop - block));
          if (finish_ && !summed) sum_inputs(pointers, sums, group, count);
          summed = true;
          for (size_t i = 0; i < layer_.terms.size(); ++i)
            multiply(context, i, pointers, tile + static_cast<int64_t>(i) * e.term_stride, group, block, wide,
                     count);
          e.channel = static_cast<int>(group * outer_ + block * LANES);
          e.channels = static_cast<int>(std::min<int64_t>(wide * LANES, outer_ - block * LANES));
          run_epilogue_(e);
        }
      }
    }
  }

  int64_t pixel_bytes(const InputTerm& input) const { return spec_.groups * group_bytes(input); }

  int64_t group_bytes(const InputTerm& input) const {
    return input.planes ? (spec_.inner + 31) / 32 * input.planes * 4 : spec_.inner;
  }

  void find_pointers(const Context& context, size_t x, int64_t pixel, int count, const uint8_t** to) const {
    const InputTerm& input = spec_.inputs[x];
    const uint8_t* value = context.read(input.value);
    if (copies_ || layer_.runs) {
      rows_.pointers(copies_ ? context.scratch + at_copy_[x] : value, row_pixels_[x].copied_bytes, pixel,
                     count, to);
    } else {
      spec_.window.pointers(value, pixel_bytes(input), context.zeros, pixel, count, to);
    }
  }

  // The channels of all taps of a pixel side by side.
  void gather(const Context& context, const uint8_t** pointers, int count) const {
    auto** gathered = reinterpret_cast<const uint8_t**>(context.scratch + at_gather_pointers_);
    uint8_t* to = context.scratch + at_gather_;
    for (size_t x = 0; x < spec_.inputs.size(); ++x) {
      for (int p = 0; p < count; ++p, to += gathered_) {
        gathered[static_cast<int64_t>(x) * TILE_PIXELS + p] = to;
        uint8_t* next = to;
        const uint8_t** from = pointers + static_cast<int64_t>(x) * pointers_ * TILE_PIXELS + p;
        for (int64_t tap = 0; tap < pointers_; ++tap, from += TILE_PIXELS, next += spec_.inner) {
          if (spec_.inner <= 4) {
            __builtin_memcpy(next, *from,
                             4);  // what is too much is overwritten by the next tap, or meets weight 0
          } else {
            std::copy_n(*from, spec_.inner, next);
          }
        }
      }
    }
  }

  void find_corr(Finish* finish, const int32_t* sums) const {
    const int32_t* at = layer_.corr_at.empty() ? nullptr : layer_.corr_at.data();
    for (size_t i = 0; i < layer_.terms.size(); ++i) {
      const LayerTerm& term = layer_.terms[i];
      finish[i] = {term.s, term.t, term.corr.empty() ? nullptr : term.corr.data(), at,
                   term.t ? sums + term.input * TILE_PIXELS : nullptr};
    }
  }

  // sums[input][p] = sum of the operands of one group, for terms that need it.
  void sum_inputs(const uint8_t** pointers, int32_t* sums, int64_t group, int count) const {
    uint32_t done = 0;
    for (const LayerTerm& term : layer_.terms) {
      if (term.t == 0 || done >> term.input & 1) continue;
      done |= 1u << term.input;
      const InputTerm& input = spec_.inputs[static_cast<size_t>(term.input)];
      const int64_t run = spec_.window.taps() / pointers_ * group_bytes(input);  // bytes at every pointer
      for (int p = 0; p < count; ++p) {
        uint32_t sum = 0;
        const uint8_t** from = pointers + term.input * pointers_ * TILE_PIXELS + p;
        for (int64_t i = 0; i < pointers_; ++i, from += TILE_PIXELS) {
          const uint8_t* x = *from + group * group_bytes(input);
          if (input.planes == 0) {
            for (int64_t c = 0; c < run; ++c) sum += x[c];
          } else {
            for (const uint8_t* end = x + run; x < end;)
              for (int j = 0; j < input.planes; ++j, x += 4) {
                uint32_t word;
                __builtin_memcpy(&word, x, 4);
                sum += static_cast<uint32_t>(__builtin_popcount(word)) << j;
              }
          }
        }
        sums[term.input * TILE_PIXELS + p] = static_cast<int32_t>(sum);
      }
    }
  }

  void multiply(const Context& context, size_t i, const uint8_t** pointers, int32_t* out, int64_t group,
                int64_t block, int wide, int count) const {
    const LayerTerm& term = layer_.terms[i];
    const InputTerm& input = spec_.inputs[static_cast<size_t>(term.input)];
    const uint8_t** x = pointers + term.input * pointers_ * TILE_PIXELS;
    const int64_t all = group * layer_.group_blocks + block;
    if (term.weight < 0) {
      std::fill(out, out + TILE_PIXELS * ROW, 0);
    } else if (kind_ == Kind::dot8) {
      if (layer_.gather)
        x = reinterpret_cast<const uint8_t**>(context.scratch + at_gather_pointers_) +
            term.input * TILE_PIXELS;
      const int64_t size = layer_.taps * layer_.tap_words * 4 * LANES;
      run_dot_[i]({x, group * group_bytes(input), static_cast<int>(layer_.taps),
                   static_cast<int>(layer_.tap_words), layer_.bytes.data() + term.weight + all * size, size,
                   out, ROW, count, wide, term.pairs_fit});
    } else if (kind_ == Kind::bits) {
      const int64_t size = layer_.taps * layer_.tap_words * term.w_planes * LANES;
      run_bits_({x, group * group_bytes(input), static_cast<int>(layer_.taps),
                 static_cast<int>(layer_.tap_words), input.planes,
                 layer_.words.data() + term.weight + all * size, size, term.w_planes, term.w_weight.data(),
                 term.coding, out, ROW, count, wide});
    } else if (kind_ == Kind::nibbles1 || kind_ == Kind::nibbles2) {
      const int64_t size = layer_.taps * layer_.tap_words * 32;
      const uint8_t* start = layer_.tiles.data();
      const int64_t copied = row_pixels_[static_cast<size_t>(term.input)].copied_bytes / spec_.groups;
      run_nibbles_({x, group * copied, static_cast<int>(layer_.taps), static_cast<int>(layer_.tap_words),
                    start + term.tables, start + term.weight + all * size, size, term.most, out, ROW, count,
                    wide});
    } else {
      run_depthwise_({x, static_cast<int>(pointers_), layer_.units.data() + term.weight,
                      round_up(spec_.channels(), LANES), static_cast<int>(block * LANES),
                      static_cast<int>(spec_.outer), static_cast<int>(spec_.groups - 1), out, ROW, count,
                      wide});
    }
  }

  std::string kernel_name(Isa isa) const {
    const LayerTerm& term = layer_.terms.front();
    const std::string many = layer_.terms.size() > 1 ? " x" + std::to_string(layer_.terms.size()) : "";
    if (kind_ == Kind::dot8)
      return std::string(select_dot8(isa, term.pairs_fit).name) + (layer_.gather ? "_gather" : "") + many;
    if (kind_ == Kind::depthwise) return select_depthwise(isa).name + many;
    if (kind_ == Kind::nibbles1) return std::string("nibbles1_") + select_nibbles(isa).tile + many;
    if (kind_ == Kind::nibbles2) return std::string("nibbles2_") + select_nibbles(isa).tile + many;
    static const char* const codings[] = {"and", "xor", "mask"};
    const int planes = term.coding == Coding::mask ? 1 : term.w_planes;
    return "bits_" + std::string(codings[static_cast<int>(term.coding)]) + std::to_string(planes) + "x" +
           std::to_string(spec_.inputs.front().planes) + "_" + select_bits(isa).tile + many;
  }

  Kind kind_;
  LayerSpec spec_;
  LayerTerms layer_;
  Epilogue out_;
  EpilogueKernel run_epilogue_;
  std::vector<DotKernel> run_dot_;
  BitKernel run_bits_;
  NibbleKernel run_nibbles_;
  DepthwiseKernel run_depthwise_;
  Rows rows_;
  int64_t pointers_;  // of a pixel
  bool copies_;       // reads a copy of its input
  int64_t part_;      // blocks that are taken together
  std::vector<RowPixels> row_pixels_;
  std::vector<int64_t> at_copy_;
  int64_t gathered_, groups_ = 1, outer_ = 1;
  int64_t at_tile_, at_gather_, at_gather_pointers_, at_sums_, at_finish_;
  bool finish_ = false;
};

}  // namespace

std::unique_ptr<Step> make_layer(const std::string& kind, LayerSpec spec, Epilogue epilogue, Isa isa) {
  if (kind == "tile8") return make_tile_layer(std::move(spec), std::move(epilogue), isa);
  const auto step = [&](Kind k, LayerTerms layer) {
    return std::make_unique<LayerStep>(k, std::move(spec), std::move(layer), std::move(epilogue), isa);
  };
  if (kind == "dot8") return step(Kind::dot8, pack_dot8(spec));
  if (kind == "bits") {
    LayerTerms layer = pack_bits(spec);
    if (auto binary = make_binary_layer(spec, layer, epilogue, isa)) return binary;
    return step(Kind::bits, std::move(layer));
  }
  if (kind == "nibbles1") return step(Kind::nibbles1, pack_nibbles(spec, 1));
  if (kind == "nibbles2") return step(Kind::nibbles2, pack_nibbles(spec, 2));
  return step(Kind::depthwise, pack_depthwise(spec));
}

}  // namespace lowbit
