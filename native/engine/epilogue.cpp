#include "engine/epilogue.h"

#include <algorithm>

#include "ops/lanes.h"

namespace lowbit {

const float* Epilogue::keep(const float* from, int64_t count) {
  std::vector<float> copy(static_cast<size_t>(count + LANES), 0.0f);
  std::copy(from, from + count, copy.begin());
  float_arrays_.push_back(std::make_shared<const std::vector<float>>(std::move(copy)));
  return float_arrays_.back()->data();
}

const int32_t* Epilogue::keep(std::vector<int32_t> array) {
  int_arrays_.push_back(std::make_shared<const std::vector<int32_t>>(std::move(array)));
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

void Epilogue::add(int value) {
  addend_ = value;
  simple(Stage::add, 0, 0, 0, 0, 0);
}

void Epilogue::threshold(bool floats, const int32_t* thresholds, int64_t rows, int64_t levels,
                         const uint8_t* descending) {
  const int32_t falling = floats ? INT32_MIN : -1;
  const int64_t stride = rows == 1 ? 1 : rows;
  std::vector<int32_t> t(static_cast<size_t>(stride * levels + LANES)),
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
  stage.flip = keep(std::move(flip));
  stages_.push_back(stage);
}

std::vector<int> Epilogue::writes() const {
  std::vector<int> ids;
  for (int id : {floats, image, codes, planes, acc})
    if (id >= 0) ids.push_back(id);
  return ids;
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
