// Which input pixel each tap of a sliding window reads.
#pragma once

#include <cstdint>
#include <vector>

namespace lowbit {

enum class PadMode : int { zeros = 0, reflect = 1, replicate = 2, circular = 3 };

struct Window {
  int64_t height = 1, width = 1, out_height = 1, out_width = 1;
  int64_t kernel_y = 1, kernel_x = 1, stride_y = 1, stride_x = 1, pad_y = 0, pad_x = 0, dilation_y = 1,
          dilation_x = 1;
  PadMode mode = PadMode::zeros;

  int64_t taps() const { return kernel_y * kernel_x; }
  int64_t out_pixels() const { return out_height * out_width; }

  // Input index of padded position i in 0..n-1, or -1 where zeros are padded.
  int64_t source(int64_t i, int64_t n) const;

  // targets[tap * TILE_PIXELS + p] = base + input pixel * pixel_bytes, or `pad` where the tap is padding.
  void pointers(const uint8_t* base, int64_t pixel_bytes, const uint8_t* pad, int64_t pixel, int pixels,
                const uint8_t** targets) const;
};

// Output rows (columns) whose windows lose the same taps to zero padding, numbered.
struct PadClasses {
  std::vector<int32_t> of;               // class of each output index
  std::vector<std::vector<bool>> valid;  // [class][tap] whether the tap is inside the input
};

PadClasses pad_classes(int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                       int64_t size);

}  // namespace lowbit
