// The epilogue of sums that are there, piece by piece between the steps that compute the next ones.
#pragma once

#include <algorithm>

#include "ops/epilogue/params.h"
#include "ops/lanes.h"
#include "ops/tile8/params.h"

namespace lowbit {

class Overlap : public Meanwhile {
 public:
  explicit Overlap(EpilogueKernel run) : Meanwhile{nullptr, &stored}, run_(run) {}
  Overlap(const Overlap&) = delete;
  Overlap& operator=(const Overlap&) = delete;

  // The tile of the sums that come next; its spans have to stay where they are until the ones after that.
  void next(const EpilogueTile& tile) { next_ = tile; }

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
    o.now_ = o.next_;
    o.now_.data += first;
    o.now_.channel += first;
    o.now_.channels = std::min(blocks * LANES, o.next_.channels - first);
    o.span_ = o.next_.spans;
    o.end_ = o.span_ + o.next_.span_count;
    o.done_ = 0;
    o.some = o.span_ == o.end_ ? nullptr : &piece;
  }

  EpilogueKernel run_;
  EpilogueTile next_{}, now_{};
  const Span *span_ = nullptr, *end_ = nullptr;
  int done_ = 0;
};

}  // namespace lowbit
