#include "engine/epilogue.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "ops/epilogue/quantize.h"
#include "ops/lanes.h"

namespace lowbit {

namespace {

constexpr int FEW_CODES = 15;  // comparisons that take less time than a division

float to_float(int32_t bits) {
  float v;
  std::memcpy(&v, &bits, 4);
  return v;
}

// Floats in their order: integers from -inf (-0x7F800000) to inf (0x7F800000), both zeros being 0.
int32_t bits_of_rank(int32_t rank) { return rank >= 0 ? rank : -rank | INT32_MIN; }

// Bits of the smallest float with that code or a higher one; a NaN, which nothing reaches, where there is
// none. Every operation of quantize_one is monotone, so codes are.
int32_t first_float(const Stage& stage, int code) {
  int64_t low = -0x7F800000, high = 0x7F800001;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const bool reached = middle > 0x7F800000 ||
                         quantize_one(to_float(bits_of_rank(static_cast<int32_t>(middle))), stage) >= code;
    (reached ? high : low) = reached ? middle : middle + 1;
  }
  return low > 0x7F800000 ? 0x7FC00000 : bits_of_rank(static_cast<int32_t>(low));
}

}  // namespace

const float* Epilogue::keep(const float* from, int64_t count) {
  AlignedVector<float> copy(static_cast<size_t>(count + LANES), 0.0f);
  std::copy(from, from + count, copy.begin());
  float_arrays_.push_back(std::make_shared<const AlignedVector<float>>(std::move(copy)));
  return float_arrays_.back()->data();
}

const int32_t* Epilogue::keep(AlignedVector<int32_t> array) {
  int_arrays_.push_back(std::make_shared<const AlignedVector<int32_t>>(std::move(array)));
  return int_arrays_.back()->data();
}

void Epilogue::rescale(const float* coefficients, int64_t terms, int64_t width, const float* bias) {
  Stage stage{};
  stage.kind = Stage::rescale;
  stage.step = width == 1 ? 0 : 1;
  stage.stride = width;  // the overrun of one term reads the next one's, which no valid lane sees
  stage.a = keep(coefficients, terms * width);
  stage.b = bias ? keep(bias, channels_) : nullptr;
  stages_.push_back(stage);
}

void Epilogue::affine(const float* scale, const float* shift) {
  Stage stage{};
  stage.kind = Stage::affine;
  stage.a = keep(scale, channels_);
  stage.b = keep(shift, channels_);
  stages_.push_back(stage);
}

void Epilogue::simple(Stage::Kind kind, float p0, float p1, float p2, float p3, float p4) {
  Stage stage{};
  stage.kind = kind;
  stage.p0 = p0, stage.p1 = p1, stage.p2 = p2, stage.p3 = p3, stage.p4 = p4;
  stages_.push_back(stage);
}

void Epilogue::quantize(float step, float before, float after, float low, float high) {
  const auto codes = static_cast<int>(high - low);
  if (!(step > 0) || codes > FEW_CODES) return simple(Stage::quantize, step, before, after, low, high);
  Stage stage{};
  stage.p0 = step, stage.p1 = before, stage.p2 = after, stage.p3 = low, stage.p4 = high;
  std::vector<int32_t> thresholds;
  for (int code = 1; code <= codes; ++code) thresholds.push_back(first_float(stage, code));
  const uint8_t rising = 0;
  threshold(true, thresholds.data(), 1, codes, &rising);
}

void Epilogue::add(int value) {
  for (const Stage& stage : stages_)
    if (stage.kind == Stage::keep)
      throw std::logic_error("floats kept before a sum may take its addend's place");
  addend_ = value;
  simple(Stage::add, 0, 0, 0, 0, 0);
}

void Epilogue::threshold(bool floats, const int32_t* thresholds, int64_t rows, int64_t levels,
                         const uint8_t* descending) {
  const int32_t falling = floats ? INT32_MIN : -1;
  const int64_t stride = rows == 1 ? 1 : rows;
  AlignedVector<int32_t> t(static_cast<size_t>(stride * levels + LANES)),
      flip(static_cast<size_t>(rows + LANES));
  for (int64_t r = 0; r < rows; ++r) {
    flip[static_cast<size_t>(r)] = descending[r] ? falling : 0;
    for (int64_t k = 0; k < levels; ++k) {
      t[static_cast<size_t>(k * stride + r)] = thresholds[r * levels + k] ^ flip[static_cast<size_t>(r)];
    }
  }
  Stage stage{};
  stage.kind = floats ? Stage::threshold_f : Stage::threshold_i;
  stage.step = rows == 1 ? 0 : 1;
  stage.levels = static_cast<int>(levels);
  stage.stride = stride;
  stage.t = keep(std::move(t));
  const bool falls = std::any_of(descending, descending + rows, [](uint8_t d) { return d != 0; });
  stage.flip = falls ? keep(std::move(flip)) : nullptr;
  stages_.push_back(stage);
}

std::vector<int> Epilogue::writes() const {
  std::vector<int> ids;
  for (int id : {floats, image, codes, planes, acc})
    if (id >= 0) ids.push_back(id);
  return ids;
}

bool Epilogue::alike() const {
  const auto one = [](const Stage& s) {
    const bool table =
        s.kind == Stage::rescale || s.kind == Stage::threshold_i || s.kind == Stage::threshold_f;
    return s.kind != Stage::affine && !s.b && (!table || s.step == 0);
  };
  return image < 0 && acc < 0 && std::all_of(stages_.begin(), stages_.end(), one);
}

const Stage* Epilogue::only_threshold() const {
  const bool only = stages_.size() == 1 && plane_count == 1 && writes() == std::vector<int>{planes};
  return only && stages_[0].kind == Stage::threshold_i && stages_[0].levels == 1 ? &stages_[0] : nullptr;
}

void Epilogue::bind(const Context& context, EpilogueTile& tile) const {
  tile.stages = stages_.data();
  tile.stage_count = static_cast<int>(stages_.size());
  tile.addend = addend_ < 0 ? nullptr : context.read_as<float>(addend_);
  Sink& sink = tile.sink;
  sink = Sink{};
  if (floats >= 0) sink.floats = reinterpret_cast<float*>(context.write(floats));
  if (image >= 0) sink.image = reinterpret_cast<float*>(context.write(image));
  if (codes >= 0) sink.codes = context.write(codes);
  if (planes >= 0) sink.planes = reinterpret_cast<uint32_t*>(context.write(planes));
  if (acc >= 0) sink.acc = reinterpret_cast<int32_t*>(context.write(acc));
  sink.channels = channels_;
  sink.pixels = pixels_;
  sink.term_size = channels_ * pixels_;
  sink.plane_count = plane_count;
  sink.plane_words = plane_words;
}

}  // namespace lowbit
