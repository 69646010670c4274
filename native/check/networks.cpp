// image -> 2 bits -> 3x3 by planes or bytes -> thresholds -> 3x3 by bytes, stride 2 -> affine, hardswish, 8
// bits -> 3x3 depthwise -> mean -> linear with float activations and 4-bit weights.
#include "check/networks.h"

#include <algorithm>
#include <cmath>

#include "engine/choose.h"
#include "engine/float_layer.h"
#include "engine/layer.h"
#include "engine/plan.h"
#include "engine/simple_steps.h"

namespace lowbit {

namespace {

float real(Random& random) { return static_cast<float>(random() % 2001) / 1000.0f - 1.0f; }

std::vector<float> reals(Random& random, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = real(random);
  return values;
}

// Codes back to back; every pattern is a code of a grid of 2^bits levels.
std::vector<uint8_t> codes(Random& random, int64_t count, int bits) {
  std::vector<uint8_t> bytes(static_cast<size_t>((count * bits + 7) / 8 + 8));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

Units line(int32_t first, int count) {
  Units units;
  for (int i = 0; i < count; ++i) units.push_back(first + i);
  return units;
}

Window square(int64_t size, int64_t stride) {
  Window window;
  window.height = window.width = size;
  window.out_height = window.out_width = (size - 1) / stride + 1;
  window.kernel_y = window.kernel_x = 3;
  window.stride_y = window.stride_x = stride;
  window.pad_y = window.pad_x = 1;
  return window;
}

}  // namespace

std::vector<uint32_t> run_network(Isa isa, Random random, int threads) {
  const int64_t size = 6 + random() % 8, first = 1 + random() % 40, second = 1 + random() % 70,
                third = 1 + random() % 40, classes = 1 + random() % 20, half = (size - 1) / 2 + 1;
  const int w_bits = 1 + static_cast<int>(random() % 2);
  const bool planes = random() % 4 != 0;
  Plan plan(threads);
  const int input = plan.add_value(4 * first * size * size, Role::input);
  const int output = plan.add_value(4 * classes, Role::output);

  Epilogue image(first, size * size);
  image.quantize(0.4f, 0.0f, 1.0f, 0.0f, 3.0f);
  const int64_t words = (first + 31) / 32;
  int x = plan.add_value(planes ? 8 * words * size * size : first * size * size, Role::inner);
  if (planes) {
    image.planes = x, image.plane_count = 2, image.plane_words = static_cast<int>(words);
  } else {
    image.codes = x;
  }
  plan.add_step(make_image(input, image, isa), "image");

  LayerSpec conv;
  conv.window = square(size, 1);
  conv.inner = first, conv.outer = second, conv.bits = w_bits;
  const auto packed1 = codes(random, second * first * 9, w_bits);
  conv.packed = packed1.data();
  conv.weight_units = {w_bits == 1 ? Units{-1, 1} : line(-2, 4)};
  conv.inputs = {{x, 1, -1, 3, planes ? 2 : 0}};
  Epilogue thresholds(second, size * size);
  std::vector<int32_t> steps;
  std::vector<uint8_t> falling;
  for (int64_t c = 0; c < second; ++c) {
    falling.push_back(random() % 2);
    int32_t cut[3];
    for (int32_t& t : cut) t = static_cast<int32_t>(random() % 61) - 30;
    std::sort(cut, cut + 3);
    if (falling.back()) std::reverse(cut, cut + 3);
    steps.insert(steps.end(), cut, cut + 3);
  }
  thresholds.threshold(false, steps.data(), second, 3, falling.data());
  x = thresholds.codes = plan.add_value(second * size * size, Role::inner);
  plan.add_step(make_layer(planes ? "bits" : "dot8", conv, thresholds, isa), "conv1");

  LayerSpec down;
  down.window = square(size, 2);
  down.inner = second, down.outer = third, down.bits = 4;
  const auto packed2 = codes(random, third * second * 9, 4);
  down.packed = packed2.data();
  down.weight_units = {line(-8, 16)};
  down.inputs = {{x, 1, 0, 3, 0}};
  Epilogue floats(third, half * half);
  const auto scales = reals(random, third), bias = reals(random, third), a = reals(random, third),
             b = reals(random, third);
  floats.rescale(scales.data(), 1, third, bias.data());
  floats.affine(a.data(), b.data());
  floats.simple(Stage::hardswish, 0, 0, 0, 0, 0);
  floats.quantize(0.05f, 0.0f, 40.0f, 0.0f, 255.0f);
  x = floats.codes = plan.add_value(third * half * half, Role::inner);
  plan.add_step(make_layer("dot8", down, floats, isa), "conv2");

  LayerSpec depthwise;
  depthwise.window = square(half, 1);
  depthwise.groups = third, depthwise.bits = 8;
  const auto packed3 = codes(random, third * 9, 8);
  depthwise.packed = packed3.data();
  depthwise.weight_units = {line(-128, 256)};
  depthwise.inputs = {{x, 1, -40, 255, 0}};
  Epilogue sums(third, half * half);
  sums.rescale(scales.data(), 1, third, nullptr);
  x = sums.floats = plan.add_value(4 * third * half * half, Role::inner);
  plan.add_step(make_layer("depthwise", depthwise, sums, isa), "depthwise");

  PoolSpec pool;
  pool.value = x;
  pool.window.height = pool.window.width = pool.window.kernel_y = pool.window.kernel_x = half;
  pool.window.stride_y = pool.window.stride_x = half;
  Epilogue mean(third, 1);
  x = mean.floats = plan.add_value(4 * third, Role::inner);
  plan.add_step(make_pool(pool, mean, isa), "mean");

  FloatSpec linear;
  linear.inner = third, linear.outer = classes, linear.input = x, linear.bits = 4;
  linear.packed = codes(random, classes * third, 4);
  linear.units = {line(-7, 16)};
  Epilogue head(classes, 1);
  const auto head_scales = reals(random, classes), head_bias = reals(random, classes);
  head.affine(head_scales.data(), head_bias.data());
  head.image = output;
  plan.add_step(make_weight_only(linear, head, isa), "linear");

  constexpr int IMAGES = 3;
  plan.finish(false, 4 * first * size * size, 4 * classes);
  const auto images = reals(random, IMAGES * first * size * size);
  std::vector<uint32_t> outputs(static_cast<size_t>(IMAGES * classes));
  plan.run(reinterpret_cast<const uint8_t*>(images.data()), reinterpret_cast<uint8_t*>(outputs.data()),
           IMAGES);
  return outputs;
}

}  // namespace lowbit
