// Offsets of values in one block of memory: values whose lives do not overlap share bytes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace lowbit {

class Arena {
 public:
  int64_t take(int64_t bytes);  // offset of a free block of that many bytes
  void give(int64_t offset, int64_t bytes);
  int64_t size() const { return size_; }

 private:
  std::map<int64_t, int64_t> free_;  // offset -> bytes
  int64_t size_ = 0;
};

// 64-byte aligned memory. Not cleared: pages that are never written cost nothing.
class Buffer {
 public:
  explicit Buffer(int64_t bytes)
      : data_(static_cast<uint8_t*>(::operator new(static_cast<size_t>(bytes), std::align_val_t(64)))) {}
  ~Buffer() { ::operator delete(data_, std::align_val_t(64)); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  uint8_t* data() const { return data_; }

 private:
  uint8_t* data_;
};

// Buffers of one size, reused: concurrent runs take one each, nothing is allocated once enough exist.
class BufferPool {
 public:
  std::unique_ptr<Buffer> take(int64_t bytes);
  void give(std::unique_ptr<Buffer> buffer);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Buffer>> free_;
};

}  // namespace lowbit
