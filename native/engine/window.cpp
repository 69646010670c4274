#include "engine/window.h"

#include <cstddef>
#include <map>

#include "ops/dot8/params.h"

namespace lowbit {

int64_t Window::source(int64_t i, int64_t n) const {
  if (i >= 0 && i < n) return i;
  switch (mode) {
    case PadMode::reflect:
      return i < 0 ? -i : 2 * (n - 1) - i;
    case PadMode::replicate:
      return i < 0 ? 0 : n - 1;
    case PadMode::circular:
      return i < 0 ? i + n : i - n;
    case PadMode::zeros:
      break;
  }
  return -1;
}

void Window::pointers(const uint8_t* base, int64_t pixel_bytes, const uint8_t* pad, int64_t pixel, int pixels,
                      const uint8_t** targets) const {
  const int64_t span_y = (kernel_y - 1) * dilation_y, span_x = (kernel_x - 1) * dilation_x;
  int64_t oy = pixel / out_width, ox = pixel % out_width;
  for (int p = 0; p < pixels; ++p) {
    const int64_t top = oy * stride_y - pad_y, left = ox * stride_x - pad_x;
    const uint8_t** target = targets + p;
    if (top >= 0 && left >= 0 && top + span_y < height && left + span_x < width) {
      const uint8_t* row = base + (top * width + left) * pixel_bytes;
      for (int64_t i = 0; i < kernel_y; ++i, row += dilation_y * width * pixel_bytes) {
        const uint8_t* tap = row;
        for (int64_t j = 0; j < kernel_x; ++j, tap += dilation_x * pixel_bytes, target += TILE_PIXELS)
          *target = tap;
      }
    } else {
      for (int64_t i = 0; i < kernel_y; ++i) {
        const int64_t y = source(top + i * dilation_y, height);
        for (int64_t j = 0; j < kernel_x; ++j, target += TILE_PIXELS) {
          const int64_t x = source(left + j * dilation_x, width);
          *target = y < 0 || x < 0 ? pad : base + (y * width + x) * pixel_bytes;
        }
      }
    }
    if (++ox == out_width) {
      ox = 0;
      ++oy;
    }
  }
}

PadClasses pad_classes(int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                       int64_t size) {
  PadClasses classes;
  std::map<std::vector<bool>, int32_t> known;
  classes.of.resize(static_cast<std::size_t>(out));
  std::vector<bool> valid(static_cast<std::size_t>(kernel));
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t k = 0; k < kernel; ++k) {
      const int64_t i = o * stride - pad + k * dilation;
      valid[static_cast<std::size_t>(k)] = i >= 0 && i < size;
    }
    const auto found = known.emplace(valid, static_cast<int32_t>(known.size()));
    if (found.second) classes.valid.push_back(valid);
    classes.of[static_cast<std::size_t>(o)] = found.first->second;
  }
  return classes;
}

}  // namespace lowbit
