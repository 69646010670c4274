// Vectors whose memory begins at a whole cache line: malloc's large blocks begin 16 bytes behind one, and
// then every wide load takes two.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace lowbit {

template <class T>
struct CacheLines {
  using value_type = T;
  CacheLines() = default;
  template <class U>
  CacheLines(const CacheLines<U>&) {}
  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(64)));
  }
  void deallocate(T* at, std::size_t) { ::operator delete(at, std::align_val_t(64)); }
  bool operator==(const CacheLines&) const { return true; }
  bool operator!=(const CacheLines&) const { return false; }
};

template <class T>
using AlignedVector = std::vector<T, CacheLines<T>>;

}  // namespace lowbit
