// One layer by whatever kernel would execute it and by `direct`: the same accumulators from any window,
// padding, groups, operands and number of threads.
#include "check/layers.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "engine/choose.h"
#include "engine/layer.h"
#include "engine/plan.h"
#include "engine/simple_steps.h"

namespace lowbit {

namespace {

Units line(int64_t first, int64_t step, int bits) {
  Units units;
  for (int64_t i = 0; i < int64_t(1) << bits; ++i) units.push_back(static_cast<int32_t>(first + step * i));
  return units;
}

// Weights that are added up apart, code by code.
std::vector<Units> one_each(int bits) {
  std::vector<Units> terms(size_t(1) << bits, Units(size_t(1) << bits));
  for (size_t code = 0; code < terms.size(); ++code) terms[code][code] = 1;
  return terms;
}

// One term or two, of units that are a line apart or anywhere.
std::vector<Units> any_units(Random& random, int bits) {
  std::vector<Units> terms;
  for (int64_t count = random.between(0, 3) ? 1 : 2; count > 0; --count) {
    const int64_t step = random.between(1, 2);
    terms.push_back(line(-step * (int64_t(1) << bits) / 2, step, bits));
    if (random.between(0, 3) == 0)
      for (int32_t& unit : terms.back()) unit = static_cast<int32_t>(random.between(-200, 200));
  }
  return terms;
}

Window any_window(Random& random) {
  Window w;
  w.height = random.between(1, 12), w.width = random.between(1, 20);
  w.kernel_y = random.between(1, 4), w.kernel_x = random.between(1, 7);
  w.stride_y = random.between(1, 3), w.stride_x = random.between(1, 3);
  w.dilation_y = random.between(1, 3), w.dilation_x = random.between(1, 3);
  w.mode = static_cast<PadMode>(random.between(0, 3));
  // Reflection leaves out the border, a circle comes back to where it began.
  const int64_t less = w.mode == PadMode::reflect ? 1 : 0, most = w.mode == PadMode::zeros ? 5 : 3;
  w.pad_y = std::min(random.between(0, most), most == 5 ? most : w.height - less);
  w.pad_x = std::min(random.between(0, most), most == 5 ? most : w.width - less);
  const auto out = [](int64_t size, int64_t pad, int64_t kernel, int64_t dilation, int64_t stride) {
    const int64_t room = size + 2 * pad - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
  };
  w.out_height = out(w.height, w.pad_y, w.kernel_y, w.dilation_y, w.stride_y);
  w.out_width = out(w.width, w.pad_x, w.kernel_x, w.dilation_x, w.stride_x);
  return w;
}

struct Codes {
  int bits;
  int64_t slope, first;  // unit = slope * code + first
  std::vector<uint8_t> bytes;
};

// One threshold a channel, or none: then sums are what comes out.
struct Thresholds {
  std::vector<int32_t> at;
  std::vector<uint8_t> falling;
};

// Each at a sum of its channel, or beside it; sums [pixels][channels].
Thresholds any_thresholds(Random& random, const LayerSpec& spec, const std::vector<uint8_t>& sums) {
  Thresholds found;
  for (int64_t c = 0; c < spec.channels(); ++c) {
    const int64_t pixel = random.between(0, spec.window.out_pixels() - 1);
    int32_t sum;
    std::memcpy(&sum, sums.data() + 4 * (pixel * spec.channels() + c), 4);
    found.at.push_back(random.between(0, 20) ? sum + static_cast<int32_t>(random.between(-1, 1)) : INT32_MIN);
    found.falling.push_back(static_cast<uint8_t>(random.between(0, 1)));
  }
  return found;
}

// Accumulators [terms][pixels][channels] of a layer, or a plane of bits [pixels][words].
std::vector<uint8_t> run_layer(LayerSpec spec, const Codes& codes, bool codebook,
                               const Thresholds& thresholds, const std::string& kind, int threads, Isa isa) {
  const Window& w = spec.window;
  const int64_t channels = spec.groups * spec.inner, inputs = w.height * w.width;
  const auto terms = static_cast<int64_t>(spec.weight_units.size()) + spec.ones;
  const int64_t plane_words = (spec.channels() + 31) / 32;
  const bool bits = !thresholds.at.empty();
  const int64_t size = 4 * w.out_pixels() * (bits ? plane_words : terms * spec.channels());
  Plan plan(threads, isa);
  // Kernels read beyond the end of a value, so never the caller's memory.
  const int outside = plan.add_value(channels * inputs, Role::input),
            x = plan.add_value(channels * inputs, Role::inner);
  plan.add_step(make_copy(outside, channels, inputs, x), "input");
  Epilogue sums(spec.channels(), w.out_pixels());
  const int out = plan.add_value(size, Role::output);
  if (bits) {
    sums.threshold(false, thresholds.at.data(), spec.channels(), 1, thresholds.falling.data());
    sums.planes = out, sums.plane_count = 1, sums.plane_words = static_cast<int>(plane_words);
  } else {
    sums.acc = out;
  }
  if (kind == "direct") {
    spec.inputs = {{x, 1, 0, 0, 0}};
    const Units units = line(codes.first, codes.slope, codes.bits);
    plan.add_step(make_direct(spec, {units}, codebook, sums, isa), kind);
  } else {
    InputTerm input{x, static_cast<int32_t>(codes.slope), static_cast<int32_t>(codes.first),
                    (1 << codes.bits) - 1, 0};
    if (kind == "bits" || kind == "nibbles1") {
      // Planes of all channels in a row where groups begin at whole words.
      const int64_t group = spec.groups == 1 || spec.inner % 32 == 0 ? channels : spec.inner;
      const int64_t words = channels / group * ((group + 31) / 32);
      input.planes = codes.bits;
      input.value = plan.add_value(4 * inputs * words * codes.bits, Role::inner);
      plan.add_step(make_split(x, {}, channels, inputs, group, codes.bits, input.value, isa), "planes");
    }
    spec.inputs = {input};
    plan.add_step(make_layer(kind, spec, sums, isa), kind);
  }
  plan.finish(false, channels * inputs, size);
  std::vector<uint8_t> got(static_cast<size_t>(size));
  plan.run(codes.bytes.data(), got.data(), 1);
  return got;
}

// One bit by one bit, or ternary: what planes are made for.
void make_binary(Random& random, LayerSpec& spec, Codes& codes) {
  const auto step = static_cast<int32_t>(random.between(1, 2) * (random.between(0, 1) ? 1 : -1));
  spec.groups = 1, spec.inner = random.between(1, 80), spec.outer = random.between(1, 70);
  spec.ones = false;
  spec.bits = static_cast<int>(random.between(1, 2));
  spec.weight_units = {spec.bits == 2         ? Units{-step, 0, step, 0}
                       : random.between(0, 3) ? Units{-step, step}
                                              : Units{0, step}};
  codes.bits = 1;
}

bool check(Isa isa, Random& random, bool binary) {
  LayerSpec spec;
  const Window& w = spec.window = any_window(random);
  const int64_t pixels = w.out_pixels();
  if (pixels == 0) return true;
  const bool depthwise = random.between(0, 4) == 0;
  spec.groups = depthwise ? random.between(2, 70) : random.between(0, 2) ? 1 : random.between(2, 3);
  spec.inner = depthwise ? 1 : random.between(1, 80);
  spec.outer = random.between(1, depthwise ? 2 : 70);
  Codes codes{static_cast<int>(random.between(1, 8)), random.between(1, 2), random.between(-40, 40), {}};
  const bool codebook = !binary && random.between(0, 5) == 0;
  spec.bits = static_cast<int>(random.between(1, codebook ? 3 : 8));
  spec.weight_units = codebook ? one_each(spec.bits) : any_units(random, spec.bits);
  spec.ones = random.between(0, 4) == 0;
  if (binary) make_binary(random, spec, codes);
  std::vector<uint8_t> packed(static_cast<size_t>((spec.channels() * spec.fan_in() * spec.bits + 7) / 8 + 8));
  for (uint8_t& byte : packed) byte = static_cast<uint8_t>(random());
  spec.packed = packed.data();

  const int64_t classes =
      w.mode == PadMode::zeros && (w.pad_y || w.pad_x) && codes.first
          ? std::min(w.out_height, 2 * w.kernel_y + 1) * std::min(w.out_width, 2 * w.kernel_x + 1)
          : 0;
  const int64_t budget = random.between(0, 3) ? 1 << 30 : random.between(0, 1 << 16);
  const LayerShape shape{spec.groups, spec.inner, spec.outer, w.taps(), pixels, classes};
  const std::string kind =
      choose_layer(isa, shape, spec.weight_units, {codes.bits}, spec.ones, codebook, budget).first;

  const auto threads = static_cast<int>(random.between(1, 3));
  codes.bytes.resize(static_cast<size_t>(w.height * w.width * spec.groups * spec.inner));
  for (uint8_t& code : codes.bytes) code = static_cast<uint8_t>(random() & ((1u << codes.bits) - 1));
  const std::vector<uint8_t> sums = run_layer(spec, codes, codebook, {}, "direct", 1, Isa::scalar);
  const bool one_term = spec.weight_units.size() == 1 && !spec.ones && !codebook;
  // Planes are stored 16 channels at a time, so groups begin at such.
  const bool whole = spec.groups == 1 || spec.outer % 16 == 0;
  if (!one_term || !whole || random.between(0, 2) == 0)
    return run_layer(spec, codes, codebook, {}, kind, threads, isa) == sums;
  const Thresholds thresholds = any_thresholds(random, spec, sums);
  return run_layer(spec, codes, codebook, thresholds, kind, threads, isa) ==
         run_layer(spec, codes, codebook, thresholds, "direct", 1, Isa::scalar);
}

}  // namespace

bool check_layer(Isa isa, Random& random) { return check(isa, random, false); }

bool check_binary_layer(Isa isa, Random& random) { return check(isa, random, true); }

}  // namespace lowbit
