#include "engine/rows.h"

#include <algorithm>
#include <cstring>

namespace lowbit {

namespace {

void move(const uint8_t* from, uint8_t* to, int64_t count, const RowPixels& pixels) {
  if (!pixels.pack) {
    std::memcpy(to, from, static_cast<size_t>(count * pixels.bytes));
  } else if (pixels.inner % 4 == 0) {
    pixels.pack(from, count * pixels.bytes, to);
  } else {
    const int64_t size = (pixels.inner + 3) / 4;
    for (int64_t i = 0; i < count * pixels.groups; ++i)
      pixels.pack(from + i * pixels.inner, pixels.inner, to + i * size);
  }
}

}  // namespace

Rows::Rows(const Window& window, bool runs)
    : window_(window), columns_(runs ? 1 : window.kernel_x), height_(window.height), width_(window.width) {
  const Window& w = window_;
  if (padded()) {
    height_ = (w.out_height - 1) * w.stride_y + (w.kernel_y - 1) * w.dilation_y + 1;
    width_ = (w.out_width - 1) * w.stride_x + (w.kernel_x - 1) * w.dilation_x + 1;
  }
  begin_ = std::min(w.pad_x, width_);
  end_ = std::clamp(w.width + w.pad_x, begin_, width_);
}

void Rows::copy_row(const uint8_t* from, uint8_t* to, const RowPixels& pixels) const {
  const auto outside = [&](int64_t column) {
    const int64_t x = window_.source(column - window_.pad_x, window_.width);
    uint8_t* at = to + column * pixels.copied_bytes;
    if (x < 0) {
      std::memset(at, 0, static_cast<size_t>(pixels.copied_bytes));
    } else {
      move(from + x * pixels.bytes, at, 1, pixels);
    }
  };
  for (int64_t column = 0; column < begin_; ++column) outside(column);
  if (end_ > begin_)
    move(from + (begin_ - window_.pad_x) * pixels.bytes, to + begin_ * pixels.copied_bytes, end_ - begin_,
         pixels);
  for (int64_t column = end_; column < width_; ++column) outside(column);
}

void Rows::copy(const uint8_t* from, uint8_t* to, const RowPixels& pixels, int64_t pixel,
                int64_t pixel_end) const {
  const Window& w = window_;
  const int64_t first = pixel / w.out_width * w.stride_y,
                last = (pixel_end - 1) / w.out_width * w.stride_y + (w.kernel_y - 1) * w.dilation_y;
  const int64_t row_bytes = width_ * pixels.copied_bytes;
  for (int64_t row = first; row <= last; ++row) {
    const int64_t y = w.source(row - w.pad_y, w.height);
    if (y < 0) {
      std::memset(to + row * row_bytes, 0, static_cast<size_t>(row_bytes));
    } else {
      copy_row(from + y * w.width * pixels.bytes, to + row * row_bytes, pixels);
    }
  }
}

void Rows::pointers(const uint8_t* base, int64_t pixel_bytes, int64_t pixel, int pixels,
                    const uint8_t** targets) const {
  const Window& w = window_;
  const int64_t row_bytes = width_ * pixel_bytes, down = w.dilation_y * row_bytes,
                right = w.dilation_x * pixel_bytes;
  const int64_t step = w.stride_x * pixel_bytes;
  int64_t oy = pixel / w.out_width, ox = pixel % w.out_width;
  for (int p = 0; p < pixels;) {
    const int row_end = static_cast<int>(std::min<int64_t>(pixels, p + w.out_width - ox));
    const uint8_t* row = base + oy * w.stride_y * row_bytes + ox * step;
    const uint8_t** target = targets;
    for (int64_t i = 0; i < w.kernel_y; ++i, row += down) {
      const uint8_t* tap = row;
      for (int64_t j = 0; j < columns_; ++j, tap += right, target += TILE_PIXELS)
        for (int n = p; n < row_end; ++n) target[n] = tap + (n - p) * step;
    }
    p = row_end;
    ox = 0;
    ++oy;
  }
}

void Rows::starts(const uint8_t* base, int64_t pixel_bytes, int64_t pixel, int pixels,
                  const uint8_t** targets) const {
  const Window& w = window_;
  const int64_t line = w.stride_y * width_ * pixel_bytes, step = w.stride_x * pixel_bytes;
  int64_t oy = pixel / w.out_width, ox = pixel % w.out_width;
  for (int p = 0; p < pixels; ++oy, ox = 0) {
    const int row_end = static_cast<int>(std::min<int64_t>(pixels, p + w.out_width - ox));
    const uint8_t* at = base + oy * line + ox * step;
    for (; p < row_end; ++p, at += step) targets[p] = at;
  }
}

}  // namespace lowbit
