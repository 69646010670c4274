// Factors of a layer's output: XNOR-Net's K, made from the input, and maps that were trained.
#include <cmath>

#include "engine/simple_steps.h"

namespace lowbit {

namespace {

class GainStep : public Step {
 public:
  GainStep(int y, int k, std::vector<float> map, int64_t channels, int64_t count, int output)
      : y_(y), k_(k), output_(output), channels_(channels), map_(std::move(map)) {
    kernel = map_.empty() ? "gain_f32_pixel" : "gain_f32_map";
    reads = {y};
    if (map_.empty()) reads.push_back(k);
    writes = {output};
    pixels = count;
    bytes = 8 * channels * count;
  }

  void run(const Context& context, const Range& range) const override {
    const float* y = context.read_as<float>(y_);
    const float* k = map_.empty() ? context.read_as<float>(k_) : nullptr;
    float* out = reinterpret_cast<float*>(context.write(output_));
    for (int64_t p = range.pixel; p < range.pixel_end; ++p)
      for (int64_t c = 0; c < channels_; ++c) {
        const int64_t i = p * channels_ + c;
        out[i] = y[i] * (k ? k[p] : map_[size_t(i)]);
      }
  }

 private:
  int y_, k_, output_;
  int64_t channels_;
  std::vector<float> map_;  // [pixels][channels]
};

// K = float(sum over window and channels of rint(|x| * 2^16) * factor), zero padding. Sums of integers below
// 2^53 are exact in float64 whatever their order.
class MagnitudeStep : public Step {
 public:
  MagnitudeStep(int x, int64_t channels, Window window, double factor, int output)
      : x_(x), output_(output), channels_(channels), window_(window), factor_(factor) {
    kernel = "magnitude_f32_fixed16";
    reads = {x};
    writes = {output};
    pixels = window.out_pixels();
    bytes = 4 * (channels * window.height * window.width + pixels);
  }

  void run(const Context& context, const Range& range) const override {
    const float* x = context.read_as<float>(x_);
    float* out = reinterpret_cast<float*>(context.write(output_));
    const Window& w = window_;
    for (int64_t p = range.pixel; p < range.pixel_end; ++p) {
      double total = 0;
      for (int64_t ky = 0; ky < w.kernel_y; ++ky) {
        const int64_t row = p / w.out_width * w.stride_y - w.pad_y + ky * w.dilation_y;
        if (row < 0 || row >= w.height) continue;
        for (int64_t kx = 0; kx < w.kernel_x; ++kx) {
          const int64_t column = p % w.out_width * w.stride_x - w.pad_x + kx * w.dilation_x;
          if (column < 0 || column >= w.width) continue;
          const float* at = x + (row * w.width + column) * channels_;
          for (int64_t c = 0; c < channels_; ++c)
            total += std::nearbyint(std::fabs(static_cast<double>(at[c])) * 65536.0);
        }
      }
      out[p] = static_cast<float>(total * factor_);
    }
  }

 private:
  int x_, output_;
  int64_t channels_;
  Window window_;
  double factor_;
};

}  // namespace

std::unique_ptr<Step> make_gain(int y, int k, std::vector<float> map, int64_t channels, int64_t pixels,
                                int output) {
  return std::make_unique<GainStep>(y, k, std::move(map), channels, pixels, output);
}

std::unique_ptr<Step> make_magnitude(int x, int64_t channels, Window window, double factor, int output) {
  return std::make_unique<MagnitudeStep>(x, channels, window, factor, output);
}

}  // namespace lowbit
