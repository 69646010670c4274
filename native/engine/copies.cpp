// Steps that move values without arithmetic.
#include <algorithm>
#include <cstring>

#include "engine/simple_steps.h"
#include "ops/planes/select.h"

namespace lowbit {

namespace {

class ConcatStep : public Step {
 public:
  ConcatStep(std::vector<int> inputs, std::vector<int64_t> channels, int64_t count, int element, int output)
      : channels_(std::move(channels)), element_(element) {
    kernel = "concat";
    reads = std::move(inputs);
    writes = {output};
    pixels = count;
    for (int64_t c : channels_) all_ += c;
    bytes = all_ * element * count;
  }

  void run(const Context& context, const Range& range) const override {
    int64_t at = 0;
    for (size_t i = 0; i < reads.size(); ++i) {
      const int64_t size = channels_[i] * element_;
      const uint8_t* from = context.read(reads[i]);
      uint8_t* to = context.write(writes[0]) + at;
      for (int64_t p = range.pixel; p < range.pixel_end; ++p)
        std::memcpy(to + p * all_ * element_, from + p * size, static_cast<size_t>(size));
      at += size;
    }
  }

 private:
  std::vector<int64_t> channels_;
  int64_t all_ = 0;
  int element_;
};

template <class T>
void transpose(const T* from, T* to, int64_t channels, int64_t pixels, const Range& range) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t p = range.pixel; p < range.pixel_end; ++p) to[c * pixels + p] = from[p * channels + c];
}

class TransposeStep : public Step {
 public:
  TransposeStep(int input, int64_t channels, int64_t count, int element, int output)
      : channels_(channels), element_(element) {
    kernel = "transpose";
    reads = {input};
    writes = {output};
    pixels = count;
    bytes = channels * count * element;
  }

  void run(const Context& context, const Range& range) const override {
    if (element_ == 1) {
      transpose(context.read(reads[0]), context.write(writes[0]), channels_, pixels, range);
    } else {
      transpose(context.read_as<uint32_t>(reads[0]), reinterpret_cast<uint32_t*>(context.write(writes[0])),
                channels_, pixels, range);
    }
  }

 private:
  int64_t channels_;
  int element_;
};

class CopyStep : public Step {
 public:
  CopyStep(int input, int64_t size, int64_t count, int output) : size_(size) {
    kernel = "copy";
    reads = {input};
    writes = {output};
    pixels = count;
    bytes = size * count;
  }

  void run(const Context& context, const Range& range) const override {
    std::memcpy(context.write(writes[0]) + range.pixel * size_, context.read(reads[0]) + range.pixel * size_,
                static_cast<size_t>((range.pixel_end - range.pixel) * size_));
  }

 private:
  int64_t size_;  // of one pixel
};

class SplitStep : public Step {
 public:
  SplitStep(int input, std::vector<uint8_t> table, int64_t channels, int64_t count, int64_t group, int planes,
            int output, Isa isa)
      : table_(std::move(table)), run_(select_planes(isa)) {
    kernel = planes ? "planes_1x32" : "translate";
    reads = {input};
    writes = {output};
    pixels = count;
    bytes = channels * count;
    split_.channels = channels;
    split_.group = static_cast<int>(group);
    split_.words = static_cast<int>((group + 31) / 32);
    split_.planes = planes;
  }

  void run(const Context& context, const Range& range) const override {
    PlaneSplit split = split_;
    split.codes = context.read(reads[0]);
    split.out = context.write(writes[0]);
    split.table = table_.empty() ? nullptr : table_.data();
    split.pixel = range.pixel;
    split.pixels = range.pixel_end - range.pixel;
    run_(split);
  }

 private:
  std::vector<uint8_t> table_;
  PlaneKernel run_;
  PlaneSplit split_{};
};

}  // namespace

std::unique_ptr<Step> make_concat(std::vector<int> inputs, std::vector<int64_t> channels, int64_t pixels,
                                  int element, int output) {
  return std::make_unique<ConcatStep>(std::move(inputs), std::move(channels), pixels, element, output);
}

std::unique_ptr<Step> make_transpose(int input, int64_t channels, int64_t pixels, int element, int output) {
  return std::make_unique<TransposeStep>(input, channels, pixels, element, output);
}

std::unique_ptr<Step> make_copy(int input, int64_t size, int64_t pixels, int output) {
  return std::make_unique<CopyStep>(input, size, pixels, output);
}

std::unique_ptr<Step> make_split(int input, std::vector<uint8_t> table, int64_t channels, int64_t pixels,
                                 int64_t group, int planes, int output, Isa isa) {
  return std::make_unique<SplitStep>(input, std::move(table), channels, pixels, group, planes, output, isa);
}

}  // namespace lowbit
