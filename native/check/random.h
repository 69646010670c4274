// Numbers of a check: from bytes that a fuzzer chose as long as there are some, then from a generator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

namespace lowbit {

class Random {
 public:
  explicit Random(unsigned seed) : rest_(seed) {}
  Random(const uint8_t* bytes, std::size_t size) : bytes_(bytes), size_(size), rest_(1) {}

  // 0..2^32 - 1, the same on every processor.
  uint32_t operator()() {
    if (!size_) return static_cast<uint32_t>(rest_());
    uint32_t value = 0;
    for (int i = 0; i < 4 && size_; ++i, --size_) value |= static_cast<uint32_t>(*bytes_++) << 8 * i;
    return value;
  }

  // low..high
  int64_t between(int64_t low, int64_t high) {
    return low + (*this)() % static_cast<uint32_t>(high - low + 1);
  }

 private:
  const uint8_t* bytes_ = nullptr;
  std::size_t size_ = 0;
  std::mt19937 rest_;
};

}  // namespace lowbit
