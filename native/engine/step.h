// One step of a plan: reads values of the arena, writes others, one image at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/window.h"

namespace lowbit {

constexpr int64_t SLACK = 128;  // bytes that kernels may read past the end of a value

constexpr int64_t GRAIN = 16;  // pixels of most kernels' tiles

inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Where one image's values are while it is executed. `scratch` belongs to one worker.
struct Context {
  uint8_t* arena;
  const int64_t* offsets;  // of every value; INPUT and OUTPUT for the caller's arrays
  const uint8_t* input;
  uint8_t* output;
  const uint8_t* zeros;  // as many as the widest pixel has bytes, and SLACK
  uint8_t* scratch;
  std::atomic<bool>* bad;  // set by a step that meets NaN or infinity in the caller's input

  int moved = -1;  // a value that is elsewhere
  uint8_t* moved_at = nullptr;

  static constexpr int64_t INPUT = -1, OUTPUT = -2;

  const uint8_t* read(int id) const { return offsets[id] == INPUT ? input : write(id); }
  uint8_t* write(int id) const {
    if (id == moved) return moved_at;
    return offsets[id] == OUTPUT ? output : arena + offsets[id];
  }
  template <class T>
  const T* read_as(int id) const {
    return reinterpret_cast<const T*>(read(id));
  }
};

// Part of a step: output pixels [pixel, pixel_end), blocks of 16 channels [block, block_end).
struct Range {
  int64_t pixel, pixel_end, block, block_end;
};

// Parts of an image are rows, where it has enough of them.
inline int64_t row_grain(const Window& w) { return w.out_height >= 8 ? w.out_width : GRAIN; }

class Step {
 public:
  virtual ~Step() = default;
  virtual void run(const Context& context, const Range& range) const = 0;

  std::string name;    // for people: names of the operations it executes
  std::string kernel;  // by the grammar of native/README.md
  std::vector<int> reads, writes;
  int64_t pixels = 1, blocks = 1;  // how it can be split over threads
  int64_t grain = GRAIN;           // parts of pixels start at multiples of it
  int64_t scratch = 0;             // bytes a worker needs
  int64_t zeros = 0;               // bytes of zeros it reads
  int64_t operations = 0;          // 2 for a multiply and an add
  int64_t bytes = 0;               // weights and values read and written
  int64_t weight_bytes = 0;        // of these the weights
  bool checks_input = false;       // sets Context::bad
  int from = -1, to = -1;   // values of floats: `to` may lie where `from` did, read there and only there
  Window window;            // of a pool
  int64_t pixel_bytes = 0;  // of a pool's input; 0 where there is none
};

}  // namespace lowbit
