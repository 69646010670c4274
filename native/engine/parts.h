// How the threads share one step of one pass: parts of its pixels, or of its channels.
#pragma once

#include <algorithm>

#include "engine/step.h"

namespace lowbit {

// Pixels that make a part worth it, six matrix tiles of rows of 14: with fewer, weights are unpacked again
// for too little.
constexpr int64_t PART_PIXELS = 84;

class Parts {
 public:
  Parts(const Step& step, const Range& all, int64_t threads)
      : all_(all), grain_(step.grain), threads_(threads) {
    const int64_t lines = (all.pixel_end + grain_ - 1) / grain_, pairs = (step.blocks + 1) / 2;
    channels_ = all.pixel_end < PART_PIXELS * threads && (pairs >= threads || pairs > lines);
    units_ = channels_ ? pairs : lines;
    const int64_t smallest = channels_ ? 1 : (PART_PIXELS + grain_ - 1) / grain_;
    graded_ = units_ >= 4 * threads * smallest;
    count_ = graded_ ? 2 * threads : std::min(threads, units_);
  }

  int64_t count() const { return count_; }

  Range range(int64_t part) const {
    const int64_t first = start(part), stop = start(part + 1);
    // Two blocks are the 32 channels of a word of bits, which no two threads may write.
    if (channels_) return {0, all_.pixel_end, 2 * first, std::min(2 * stop, all_.block_end)};
    return {first * grain_, std::min(all_.pixel_end, stop * grain_), 0, all_.block_end};
  }

 private:
  // Parts of equal size, or where that leaves them large enough three quarters in a part for every thread and
  // the last quarter in as many: whoever was disturbed takes none of these.
  int64_t start(int64_t part) const {
    if (!graded_) return units_ * part / count_;
    const int64_t quarters = part <= threads_ ? 3 * part : 2 * threads_ + part;
    return units_ * quarters / (4 * threads_);
  }

  Range all_;
  int64_t grain_, threads_, units_, count_;
  bool channels_, graded_;
};

}  // namespace lowbit
