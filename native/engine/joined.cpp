// A layer and the pool that alone reads it, strip by strip: what is between them never leaves the cache.
#include <algorithm>
#include <cstring>

#include "engine/simple_steps.h"

namespace lowbit {

namespace {

constexpr int64_t STRIP_BYTES = 256 * 1024;

class JoinedStep : public Step {
 public:
  JoinedStep(std::unique_ptr<Step> layer, std::unique_ptr<Step> pool)
      : layer_(std::move(layer)), pool_(std::move(pool)) {
    value_ = layer_->writes[0];
    window_ = pool_->window;
    const int64_t row = window_.width * pool_->pixel_bytes;
    rows_ = std::clamp<int64_t>(STRIP_BYTES / row / window_.stride_y, 1, window_.out_height);
    const int64_t inputs = std::min(window_.height, (rows_ - 1) * window_.stride_y + span());
    strip_ = round_up(inputs * row + SLACK, 64);
    name = layer_->name;
    kernel = layer_->kernel + " > " + pool_->kernel;
    reads = layer_->reads;
    for (int id : pool_->reads)
      if (id != value_) reads.push_back(id);
    writes = pool_->writes;
    pixels = pool_->pixels;
    grain = row_grain(window_);
    scratch = strip_ + std::max(layer_->scratch, pool_->scratch);
    zeros = std::max(layer_->zeros, pool_->zeros);
    operations = layer_->operations + pool_->operations;
    bytes = layer_->bytes + pool_->bytes;
    weight_bytes = layer_->weight_bytes;
    checks_input = layer_->checks_input;
  }

  void run(const Context& context, const Range& range) const override {
    Context inner = context;
    inner.scratch = context.scratch + strip_;
    inner.moved = value_;
    const int64_t row_bytes = window_.width * pool_->pixel_bytes;
    int64_t first = 0, made = 0;  // rows [first, made) of the layer are in the strip
    for (int64_t pixel = range.pixel; pixel < range.pixel_end;) {
      const int64_t row = pixel / window_.out_width;
      const int64_t stop = std::min(range.pixel_end, (row + rows_) * window_.out_width);
      const int64_t last = (stop - 1) / window_.out_width;
      const int64_t top = std::max<int64_t>(0, row * window_.stride_y - window_.pad_y);
      const int64_t bottom = std::min(window_.height, last * window_.stride_y - window_.pad_y + span());
      inner.moved_at = context.scratch - top * row_bytes;
      // Windows that overlap share rows with those of the strip before.
      if (top < made)
        std::memmove(context.scratch, context.scratch + (top - first) * row_bytes,
                     static_cast<size_t>((made - top) * row_bytes));
      made = std::max(made, top);
      if (bottom > made)
        layer_->run(inner, {made * window_.width, bottom * window_.width, 0, layer_->blocks});
      first = top;
      made = std::max(made, bottom);
      pool_->run(inner, {pixel, stop, 0, pool_->blocks});
      pixel = stop;
    }
  }

 private:
  int64_t span() const { return (window_.kernel_y - 1) * window_.dilation_y + 1; }

  std::unique_ptr<Step> layer_, pool_;
  Window window_;
  int value_;
  int64_t rows_, strip_;
};

}  // namespace

std::unique_ptr<Step> make_joined(std::unique_ptr<Step> layer, std::unique_ptr<Step> pool) {
  return std::make_unique<JoinedStep>(std::move(layer), std::move(pool));
}

}  // namespace lowbit
