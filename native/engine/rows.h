// A copy of a layer's input with its padding, in which windows are found without asking where they end; the
// taps of one row of a kernel are one run of bytes in it.
#pragma once

#include "engine/window.h"
#include "ops/nibbles/params.h"

namespace lowbit {

// Pixels as they are, and as the layer reads them.
struct RowPixels {
  int64_t bytes, groups, inner;  // of the input
  int64_t copied_bytes;
  PackPairs pack;  // null: copied as they are
};

class Rows {
 public:
  // runs: one tap a row of the kernel, which must not be dilated.
  Rows(const Window& window, bool runs);

  bool padded() const { return window_.pad_y || window_.pad_x; }
  int64_t taps() const { return window_.kernel_y * columns_; }

  // Bytes of a copy.
  int64_t bytes(int64_t pixel_bytes) const { return height_ * width_ * pixel_bytes; }

  // Copies what output pixels [pixel, pixel_end) read; padded zeros are bytes of 0.
  void copy(const uint8_t* from, uint8_t* to, const RowPixels& pixels, int64_t pixel,
            int64_t pixel_end) const;

  // targets[tap * TILE_PIXELS + p] of a copy, or of the input itself where nothing is padded.
  void pointers(const uint8_t* base, int64_t pixel_bytes, int64_t pixel, int pixels,
                const uint8_t** targets) const;

  // targets[p] of the first tap alone; the tap of each next row of the kernel is `down` bytes further.
  void starts(const uint8_t* base, int64_t pixel_bytes, int64_t pixel, int pixels,
              const uint8_t** targets) const;
  int64_t down(int64_t pixel_bytes) const { return window_.dilation_y * width_ * pixel_bytes; }

 private:
  void copy_row(const uint8_t* from, uint8_t* to, const RowPixels& pixels) const;

  Window window_;
  int64_t columns_;         // taps of a row of the kernel
  int64_t height_, width_;  // of a copy, or of the input
  int64_t begin_, end_;     // columns of a copy that lie in the input
};

}  // namespace lowbit
