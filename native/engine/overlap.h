// The epilogue of sums that are there, piece by piece between the steps that compute the next ones.
#pragma once

#include <algorithm>

#include "ops/epilogue/params.h"
#include "ops/lanes.h"
#include "ops/tile8/params.h"

namespace lowbit {

class Overlap : public Meanwhile {
 public:
  // tile: all that is the same for every job.
  Overlap(EpilogueKernel run, const EpilogueTile& tile)
      : Meanwhile{nullptr, &stored}, run_(run), now_(tile) {}
  Overlap(const Overlap&) = delete;
  Overlap& operator=(const Overlap&) = delete;

  // The tile of the sums that come next; its spans have to stay where they are until the ones after that.
  // Only what changes is copied, field by field: a wide load of a field that has just been written waits
  // until the write is in the cache, which is when all products before it are done.
  void next(const EpilogueTile& tile) {
    pixel_ = tile.pixel;
    data_ = tile.data;
    channel_ = tile.channel;
    row_stride_ = tile.row_stride;
    channels_ = tile.channels;
    spans_ = tile.spans;
    span_count_ = tile.span_count;
  }

  void finish() {
    while (some) some(this);
  }

 private:
  static void piece(Meanwhile* self) {
    auto& o = *static_cast<Overlap*>(self);
    EpilogueTile& e = o.now_;
    // Rows of an image start at whole cache lines wherever its size allows it.
    const int most = e.sink.image ? LANES - static_cast<int>(e.pixel % LANES) : LANES;
    const int count = std::min(most, o.span_->count - o.done_);
    const Span part{o.span_->row + o.done_, count};
    e.spans = &part;
    e.span_count = 1;
    e.pixels = count;
    o.run_(e);
    e.pixel += count;
    o.done_ += count;
    if (o.done_ < o.span_->count) return;
    o.done_ = 0;
    if (++o.span_ == o.end_) o.some = nullptr;
  }

  static void stored(Meanwhile* self, int block, int blocks) {
    auto& o = *static_cast<Overlap*>(self);
    const int first = block * LANES;
    o.now_.pixel = o.pixel_;
    o.now_.data = o.data_ + first;
    o.now_.channel = o.channel_ + first;
    o.now_.row_stride = o.row_stride_;
    o.now_.channels = std::min(blocks * LANES, o.channels_ - first);
    o.span_ = o.spans_;
    o.end_ = o.spans_ + o.span_count_;
    o.done_ = 0;
    o.some = o.span_ == o.end_ ? nullptr : &piece;
  }

  EpilogueKernel run_;
  EpilogueTile now_;
  const Span *span_ = nullptr, *end_ = nullptr;
  int done_ = 0;
  int64_t pixel_ = 0, row_stride_ = 0;
  int32_t* data_ = nullptr;
  const Span* spans_ = nullptr;
  int channel_ = 0, channels_ = 0, span_count_ = 0;
};

}  // namespace lowbit
