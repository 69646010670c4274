// The caller's bytes to codes: one table of 256 a channel, and channels side by side.
#include <algorithm>

#include "engine/simple_steps.h"

namespace lowbit {

namespace {

class LookupStep : public Step {
 public:
  LookupStep(int input, std::vector<uint8_t> table, int64_t channels, int64_t all, int output)
      : table_(std::move(table)), channels_(channels) {
    kernel = "lookup_u8_portable";
    reads = {input};
    writes = {output};
    pixels = all;
    bytes = 2 * all * channels;
  }

  void run(const Context& context, const Range& range) const override {
    const uint8_t* x = context.read(reads[0]);
    uint8_t* y = context.write(writes[0]);
    if (channels_ == 3) {
      colors(x, y, range.pixel, range.pixel_end);
      return;
    }
    constexpr int64_t NEAR = 64;  // pixels whose codes stay in the first-level cache while channels pass by
    for (int64_t first = range.pixel; first < range.pixel_end; first += NEAR) {
      const int64_t stop = std::min(first + NEAR, range.pixel_end);
      for (int64_t c = 0; c < channels_; ++c) {
        const uint8_t* table = table_.data() + c * 256;
        for (int64_t p = first; p < stop; ++p) y[p * channels_ + c] = table[x[c * pixels + p]];
      }
    }
  }

 private:
  void colors(const uint8_t* x, uint8_t* y, int64_t first, int64_t stop) const {
    const uint8_t *red = table_.data(), *green = red + 256, *blue = green + 256;
    const uint8_t *x1 = x + pixels, *x2 = x1 + pixels;
    for (int64_t p = first; p < stop; ++p) {
      y[3 * p] = red[x[p]];
      y[3 * p + 1] = green[x1[p]];
      y[3 * p + 2] = blue[x2[p]];
    }
  }

  std::vector<uint8_t> table_;
  int64_t channels_;
};

}  // namespace

std::unique_ptr<Step> make_lookup(int input, std::vector<uint8_t> table, int64_t channels, int64_t pixels,
                                  int output) {
  return std::make_unique<LookupStep>(input, std::move(table), channels, pixels, output);
}

}  // namespace lowbit
