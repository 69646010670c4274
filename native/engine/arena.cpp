#include "engine/arena.h"

#include <iterator>

namespace lowbit {

int64_t Arena::take(int64_t bytes) {
  for (auto block = free_.begin(); block != free_.end(); ++block) {
    if (block->second < bytes) continue;
    const int64_t offset = block->first, rest = block->second - bytes;
    free_.erase(block);
    if (rest > 0) free_[offset + bytes] = rest;
    return offset;
  }
  // Grow; a free block at the end is extended.
  int64_t offset = size_;
  if (!free_.empty()) {
    const auto last = std::prev(free_.end());
    if (last->first + last->second == size_) {
      offset = last->first;
      free_.erase(last);
    }
  }
  size_ = offset + bytes;
  return offset;
}

void Arena::give(int64_t offset, int64_t bytes) {
  auto block = free_.emplace(offset, bytes).first;
  const auto next = std::next(block);
  if (next != free_.end() && block->first + block->second == next->first) {
    block->second += next->second;
    free_.erase(next);
  }
  if (block != free_.begin()) {
    const auto before = std::prev(block);
    if (before->first + before->second == block->first) {
      before->second += block->second;
      free_.erase(block);
    }
  }
}

std::unique_ptr<Buffer> BufferPool::take(int64_t bytes) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!free_.empty()) {
      auto buffer = std::move(free_.back());
      free_.pop_back();
      return buffer;
    }
  }
  return std::make_unique<Buffer>(bytes);
}

void BufferPool::give(std::unique_ptr<Buffer> buffer) {
  std::lock_guard<std::mutex> lock(mutex_);
  try {
    free_.push_back(std::move(buffer));
  } catch (const std::bad_alloc&) {  // it is freed then
  }
}

}  // namespace lowbit
