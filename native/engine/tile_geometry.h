// How a window becomes matrix tiles: rows of a tile are pixels a constant distance apart, which they are in a
// copy of the input with its padding, taken apart by the phase of the stride.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/window.h"

namespace lowbit {

// Bytes of one step: `count` operands from flattened position `first` of (tap, tap + 1, ..) x channels.
struct KStep {
  int64_t offset;  // bytes from the pixel's first operand
  int64_t tap, first, count;
};

struct PixelTile {
  int64_t base;            // bytes of its first row
  int64_t first_pixel;     // output pixels first_pixel .. that of the next tile
  int64_t top, bottom;     // rows of output pixels whose windows it reads
  std::size_t first_span;  // spans first_span .. that of the next tile
};

// Output pixels that are neighbours in their tile.
struct PixelSpan {
  int64_t first_pixel;
  int32_t row, count;
};

// What a copy puts where zeros are padded, and whether it doubles what it copies.
struct CopyPadding {
  uint8_t value = 0;
  bool doubled = false;
};

class TileGeometry {
 public:
  TileGeometry(const Window& window, int64_t groups, int64_t inner);

  // Copies what the tiles between these rows of output pixels read.
  void copy(const uint8_t* from, uint8_t* to, int64_t top, int64_t bottom, CopyPadding padding) const;

  // Bytes of all taps of the pixels of some tiles side by side, [tiles][TILE_ROWS][row_bytes]; x: as copy()
  // left it.
  void gather(const uint8_t* x, int64_t first, int64_t stop, uint8_t* to) const;

  bool gathered =
      false;  // a few channels: taps are gathered first, and steps are offsets into what is gathered
  bool by_rows = false;  // no tile crosses the end of a row of output pixels
  bool copied = false;   // otherwise tiles are read from the value itself
  int64_t copy_bytes = 0;
  int64_t row_bytes = 0;         // from one row of a tile to the next
  int rows = 1;                  // of every tile
  int64_t source_row_bytes = 0;  // the same before gathering
  std::vector<KStep> steps;
  std::vector<PixelTile> tiles;  // and one more, which starts at the end
  std::vector<PixelSpan> spans;

 private:
  struct Phase {
    int64_t y, x, at;  // at: bytes from the start of the copy
  };
  void add_steps();
  void add_tiles();

  Window window_;
  int64_t channels_, inner_;
  int64_t pitch_;           // bytes of a pixel of the copy
  bool merged_;             // taps of a row are neighbours in memory: one run of bytes
  int64_t phase_x_;         // stride that the copy takes apart: 1 or the window's
  int64_t height_, width_;  // pixels of one phase
  std::vector<Phase> phases_;
  std::vector<int64_t> runs_;  // gathered: bytes from a pixel's first operand to the taps of each row
};

}  // namespace lowbit
