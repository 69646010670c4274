// The taps of one row of a kernel as one run of bytes: neighbours in memory, in a copy of the input with its
// padding, or in the input itself where there is none.
#pragma once

#include "engine/window.h"

namespace lowbit {

class Rows {
 public:
  explicit Rows(const Window& window);

  bool copied() const { return window_.pad_y || window_.pad_x; }

  // Bytes of a whole copy.
  int64_t bytes(int64_t pixel_bytes) const { return height_ * width_ * pixel_bytes; }

  // Copies what output pixels [pixel, pixel_end) read; padded zeros are bytes of 0.
  void copy(const uint8_t* from, uint8_t* to, int64_t pixel_bytes, int64_t pixel, int64_t pixel_end) const;

  // targets[row * TILE_PIXELS + p]: where that row of the window of output pixel p begins.
  void pointers(const uint8_t* base, int64_t pixel_bytes, int64_t pixel, int pixels,
                const uint8_t** targets) const;

 private:
  void copy_row(const uint8_t* from, uint8_t* to, int64_t pixel_bytes) const;

  Window window_;
  int64_t height_, width_;  // of a copy, or of the input
  int64_t begin_, end_;     // columns of a copy that lie in the input
};

}  // namespace lowbit
