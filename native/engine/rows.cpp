#include "engine/rows.h"

#include <algorithm>
#include <cstring>

#include "ops/dot8/params.h"

namespace lowbit {

Rows::Rows(const Window& window) : window_(window), height_(window.height), width_(window.width) {
  const Window& w = window_;
  if (copied()) {
    height_ = (w.out_height - 1) * w.stride_y + (w.kernel_y - 1) * w.dilation_y + 1;
    width_ = (w.out_width - 1) * w.stride_x + w.kernel_x;
  }
  begin_ = std::min(w.pad_x, width_);
  end_ = std::clamp(w.width + w.pad_x, begin_, width_);
}

void Rows::copy_row(const uint8_t* from, uint8_t* to, int64_t pixel_bytes) const {
  const auto outside = [&](int64_t column) {
    const int64_t x = window_.source(column - window_.pad_x, window_.width);
    if (x < 0) {
      std::memset(to + column * pixel_bytes, 0, static_cast<size_t>(pixel_bytes));
    } else {
      std::memcpy(to + column * pixel_bytes, from + x * pixel_bytes, static_cast<size_t>(pixel_bytes));
    }
  };
  for (int64_t column = 0; column < begin_; ++column) outside(column);
  if (end_ > begin_)
    std::memcpy(to + begin_ * pixel_bytes, from + (begin_ - window_.pad_x) * pixel_bytes,
                static_cast<size_t>((end_ - begin_) * pixel_bytes));
  for (int64_t column = end_; column < width_; ++column) outside(column);
}

void Rows::copy(const uint8_t* from, uint8_t* to, int64_t pixel_bytes, int64_t pixel,
                int64_t pixel_end) const {
  const Window& w = window_;
  const int64_t first = pixel / w.out_width * w.stride_y,
                last = (pixel_end - 1) / w.out_width * w.stride_y + (w.kernel_y - 1) * w.dilation_y;
  const int64_t row_bytes = width_ * pixel_bytes;
  for (int64_t row = first; row <= last; ++row) {
    const int64_t y = w.source(row - w.pad_y, w.height);
    if (y < 0) {
      std::memset(to + row * row_bytes, 0, static_cast<size_t>(row_bytes));
    } else {
      copy_row(from + y * w.width * pixel_bytes, to + row * row_bytes, pixel_bytes);
    }
  }
}

void Rows::pointers(const uint8_t* base, int64_t pixel_bytes, int64_t pixel, int pixels,
                    const uint8_t** targets) const {
  const Window& w = window_;
  const int64_t row_bytes = width_ * pixel_bytes, down = w.dilation_y * row_bytes;
  int64_t oy = pixel / w.out_width, ox = pixel % w.out_width;
  for (int p = 0; p < pixels; ++p) {
    const uint8_t* at = base + oy * w.stride_y * row_bytes + ox * w.stride_x * pixel_bytes;
    for (int64_t i = 0; i < w.kernel_y; ++i, at += down) targets[i * TILE_PIXELS + p] = at;
    if (++ox == w.out_width) {
      ox = 0;
      ++oy;
    }
  }
}

}  // namespace lowbit
