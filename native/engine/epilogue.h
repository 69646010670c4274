// Owner of the stages of an epilogue: copies their arrays, padded so that kernels read whole blocks of 16
// channels.
#pragma once

#include <memory>
#include <vector>

#include "engine/aligned.h"
#include "engine/step.h"
#include "ops/epilogue/params.h"
#include "ops/isa.h"

namespace lowbit {

class Epilogue {
 public:
  Epilogue(int64_t channels, int64_t pixels) : channels_(channels), pixels_(pixels) {}

  // coefficients [terms][width], width 1 or channels; bias [channels] or null.
  void rescale(const float* coefficients, int64_t terms, int64_t width, const float* bias);
  void affine(const float* scale, const float* shift);
  // Stages without arrays: clip, hardswish, leaky, sign, dequantize.
  void simple(Stage::Kind kind, float p0, float p1, float p2, float p3, float p4);
  // clip(rint(v / step - before) + after, low, high) - low; as comparisons where the codes are few.
  void quantize(float step, float before, float after, float low, float high);
  // thresholds [rows][levels] as int32 or as the bits of float32, rows 1 or channels; descending [rows].
  void threshold(bool floats, const int32_t* thresholds, int64_t rows, int64_t levels,
                 const uint8_t* descending);

  // Adds a value of floats; keeps the floats that this point has reached, in the sink for floats.
  void add(int value);
  void keep_floats() { simple(Stage::keep, 0, 0, 0, 0, 0); }

  // Value ids of the sinks, -1 where there is none.
  int floats = -1, image = -1, codes = -1, planes = -1, acc = -1;
  int plane_count = 0, plane_words = 0;

  int64_t channels() const { return channels_; }
  int64_t pixels() const { return pixels_; }
  std::vector<int> writes() const;
  // Those that it reads besides what its step reads.
  std::vector<int> reads() const { return addend_ < 0 ? std::vector<int>{} : std::vector<int>{addend_}; }

  // Sums take the place of what is added: each float is stored where, and just after, its addend was read.
  void share_place(Step& step) const {
    step.from = addend_;
    step.to = floats;
  }

  // Whether all channels are treated alike and lie side by side in every sink: any run of numbers is then as
  // good as a pixel.
  bool alike() const;

  // The stage, where one threshold of sums is all there is, and its plane of bits all that is stored; else
  // null.
  const Stage* only_threshold() const;

  // Fills in stages and sink; the rest of the tile is the caller's.
  void bind(const Context& context, EpilogueTile& tile) const;

 private:
  const float* keep(const float* from, int64_t count);
  const int32_t* keep(AlignedVector<int32_t> array);

  int64_t channels_, pixels_;
  int addend_ = -1;
  std::vector<Stage> stages_;
  // Shared, because stages point into them and an epilogue is copied into its step.
  std::vector<std::shared_ptr<const AlignedVector<float>>> float_arrays_;
  std::vector<std::shared_ptr<const AlignedVector<int32_t>>> int_arrays_;
};

}  // namespace lowbit
