#include "engine/tile_geometry.h"

#include <algorithm>
#include <cstring>

#include "ops/tile8/params.h"

namespace lowbit {

namespace {
constexpr int64_t RUN_BYTES = 32;      // copied at once when taps are gathered
constexpr int64_t FEWEST_ROWS = 4;     // below that products are no longer those of matrix tiles
constexpr int64_t SHORTEST_ROWS = 11;  // a tile of fewer rows takes as long: 3.9 ns of the 5.5 of a whole one

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
}  // namespace

TileGeometry::TileGeometry(const Window& window, int64_t groups, int64_t inner)
    : window_(window), channels_(groups * inner), inner_(inner) {
  const Window& w = window_;
  merged_ = groups == 1 && w.dilation_x == 1 &&
            divide_up(w.kernel_x * inner, STEP_BYTES) < w.kernel_x * divide_up(inner, STEP_BYTES);
  phase_x_ = merged_ ? 1 : w.stride_x;
  height_ = w.out_height + (w.kernel_y - 1) * w.dilation_y / w.stride_y;
  width_ = (w.out_width - 1) * (w.stride_x / phase_x_) + 1 + (w.kernel_x - 1) * w.dilation_x / phase_x_;
  copied = w.pad_y || w.pad_x || w.stride_y > 1 || phase_x_ > 1 || height_ != w.height || width_ != w.width;
  // Rows a multiple of 2048 bytes apart would share two sets of the first-level cache, of 256 bytes sixteen.
  pitch_ = channels_ % (copied ? 256 : 2048) == 0 ? channels_ + STEP_BYTES : channels_;
  copied = copied || pitch_ != channels_;
  row_bytes = pitch_ * (w.stride_x / phase_x_);
  add_steps();
  copy_bytes = copied ? static_cast<int64_t>(phases_.size()) * height_ * width_ * pitch_ + STEP_BYTES : 0;
  add_tiles();
  source_row_bytes = row_bytes;
  const int64_t run = w.kernel_x * inner, fan_in = w.kernel_y * run;
  gathered =
      merged_ && run <= RUN_BYTES && divide_up(fan_in, STEP_BYTES) < static_cast<int64_t>(steps.size());
  if (!gathered) return;
  for (const KStep& step : steps) runs_.push_back(step.offset);
  steps.clear();
  for (int64_t first = 0; first < fan_in; first += STEP_BYTES)
    steps.push_back({first, 0, first, std::min<int64_t>(STEP_BYTES, fan_in - first)});
  // The last run is copied whole.
  row_bytes = divide_up(fan_in - run + RUN_BYTES, STEP_BYTES) * STEP_BYTES;
}

void TileGeometry::gather(const uint8_t* x, int64_t first, int64_t stop, uint8_t* to) const {
  const int64_t run = window_.kernel_x * inner_;
  for (int64_t tile = first; tile < stop; ++tile) {
    const uint8_t* from = x + tiles[static_cast<size_t>(tile)].base;
    for (int row = 0; row < TILE_ROWS; ++row, to += row_bytes) {
      if (row >= rows) continue;
      uint8_t* next = to;
      for (int64_t offset : runs_) {
        std::memcpy(next, from + row * source_row_bytes + offset, RUN_BYTES);
        next += run;
      }
    }
  }
}

void TileGeometry::add_steps() {
  const Window& w = window_;
  for (int64_t i = 0; i < w.kernel_y; ++i) {
    for (int64_t j = 0; j < (merged_ ? 1 : w.kernel_x); ++j) {
      const int64_t y = i * w.dilation_y, x = j * w.dilation_x;
      const int64_t phase_y = y % w.stride_y, phase_x = x % phase_x_;
      auto phase = std::find_if(phases_.begin(), phases_.end(),
                                [&](const Phase& p) { return p.y == phase_y && p.x == phase_x; });
      if (phase == phases_.end()) {
        const int64_t at = static_cast<int64_t>(phases_.size()) * height_ * width_ * pitch_;
        phase = phases_.insert(phase, {phase_y, phase_x, at});
      }
      const int64_t start = phase->at + (y / w.stride_y * width_ + x / phase_x_) * pitch_;
      const int64_t run = (merged_ ? w.kernel_x : 1) * inner_;
      for (int64_t first = 0; first < run; first += STEP_BYTES)
        steps.push_back(
            {start + first, i * w.kernel_x + j, first, std::min<int64_t>(STEP_BYTES, run - first)});
    }
  }
  // All taps of 64 channels in a row read the same few lines of memory, which stay in the first-level cache.
  std::stable_sort(steps.begin(), steps.end(),
                   [](const KStep& a, const KStep& b) { return a.first < b.first; });
}

// Tiles of equal size end with a row of output pixels, or cross rows, where the copy is as wide as their
// distance: then what lies between is computed and dropped. The last tile moves back to end with the last
// pixel.
void TileGeometry::add_tiles() {
  const Window& w = window_;
  const int64_t crossed = (w.out_height - 1) * width_ + w.out_width;
  const int64_t across = divide_up(w.out_width, TILE_ROWS), even = divide_up(w.out_width, across);
  const bool crossing =
      w.stride_x == phase_x_ &&
      (even < FEWEST_ROWS || divide_up(crossed, TILE_ROWS) * TILE_ROWS <
                                 w.out_height * across * std::max<int64_t>(even, SHORTEST_ROWS));
  const int64_t all = crossing ? crossed : w.out_width;
  by_rows = !crossing;
  rows = static_cast<int>(crossing ? std::min<int64_t>(TILE_ROWS, all) : even);
  const int64_t count = w.out_pixels();
  for (int64_t p = 0; p < count;) {
    const int64_t oy = p / w.out_width, ox = p % w.out_width;
    PixelTile tile{};
    tile.first_pixel = p;
    tile.first_span = spans.size();
    int64_t stop = 0;
    if (crossing) {
      const int64_t first = std::min(oy * width_ + ox, all - rows);
      tile.base = first * row_bytes;
      tile.top = first / width_;
      tile.bottom = std::min(w.out_height - 1, (first + rows - 1) / width_);
      for (stop = p; stop < count; ++stop) {
        const int64_t row = stop / w.out_width * width_ + stop % w.out_width - first;
        if (row >= rows) break;
        if (stop == p || stop % w.out_width == 0) spans.push_back({stop, static_cast<int32_t>(row), 0});
        ++spans.back().count;
      }
    } else {
      const int64_t first = std::min(ox, all - rows);
      tile.base = oy * width_ * pitch_ + first * row_bytes;
      tile.top = tile.bottom = oy;
      stop = oy * w.out_width + std::min(w.out_width, first + rows);
      spans.push_back({p, static_cast<int32_t>(ox - first), static_cast<int32_t>(stop - p)});
    }
    tiles.push_back(tile);
    p = stop;
  }
  tiles.push_back({0, count, 0, 0, spans.size()});
}

void TileGeometry::copy(const uint8_t* from, uint8_t* to, int64_t top, int64_t bottom,
                        CopyPadding padding) const {
  const Window& w = window_;
  const auto pad = [&](uint8_t* at, int64_t size) {
    std::memset(at, padding.value, static_cast<size_t>(size));
  };
  const auto move = [&](uint8_t* at, const uint8_t* x, int64_t size) {
    if (padding.doubled) {
      for (int64_t i = 0; i < size; ++i) at[i] = static_cast<uint8_t>(x[i] + x[i]);
    } else {
      std::memcpy(at, x, static_cast<size_t>(size));
    }
  };
  const int64_t last = std::min(height_, bottom + 1 + (w.kernel_y - 1) * w.dilation_y / w.stride_y);
  for (const Phase& phase : phases_) {
    // Pixels [begin, end) of a row of the copy lie inside the input.
    const int64_t left = phase.x - w.pad_x;
    const int64_t begin = std::min(width_, left < 0 ? divide_up(-left, phase_x_) : 0);
    const int64_t end = std::clamp(divide_up(w.width - left, phase_x_), begin, width_);
    for (int64_t r = top; r < last; ++r) {
      uint8_t* row = to + phase.at + r * width_ * pitch_;
      const int64_t y = w.source(r * w.stride_y + phase.y - w.pad_y, w.height);
      if (y < 0 || y >= w.height) {
        pad(row, width_ * pitch_);
        continue;
      }
      const uint8_t* source = from + y * w.width * channels_;
      const auto outside = [&](int64_t c) {
        const int64_t x = w.source(c * phase_x_ + left, w.width);
        if (x < 0 || x >= w.width) {
          pad(row + c * pitch_, channels_);
        } else {
          move(row + c * pitch_, source + x * channels_, channels_);
        }
      };
      for (int64_t c = 0; c < begin; ++c) outside(c);
      if (phase_x_ == 1 && pitch_ == channels_) {
        move(row + begin * channels_, source + (begin + left) * channels_, (end - begin) * channels_);
      } else {
        for (int64_t c = begin; c < end; ++c)
          move(row + c * pitch_, source + (c * phase_x_ + left) * channels_, channels_);
      }
      for (int64_t c = end; c < width_; ++c) outside(c);
    }
  }
}

}  // namespace lowbit
