// Arrays for results. Their memory is used again once Python has dropped them: fresh pages of the system cost
// more than small layers.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "bind/arrays.h"
#include "engine/arena.h"

namespace lowbit {

class Outputs {
 public:
  using Result = nb::ndarray<nb::numpy, float>;

  Result take(const std::vector<size_t>& shape) {
    int64_t bytes = 4;
    for (size_t n : shape) bytes *= static_cast<int64_t>(n);
    auto* held = new Held{shared_, shared_->take(bytes), bytes};
    nb::capsule owner(held, [](void* p) noexcept {
      std::unique_ptr<Held> held(static_cast<Held*>(p));
      held->shared->give(std::move(held->buffer), held->bytes);
    });
    return Result(held->buffer->data(), shape.size(), shape.data(), owner);
  }

 private:
  struct Shared {
    static constexpr size_t KEPT = 4;

    std::unique_ptr<Buffer> take(int64_t bytes) {
      const std::lock_guard<std::mutex> lock(mutex);
      const auto found =
          std::find_if(free.begin(), free.end(), [&](const auto& f) { return f.second == bytes; });
      if (found == free.end()) return std::make_unique<Buffer>(bytes);
      auto buffer = std::move(found->first);
      free.erase(found);
      return buffer;
    }
    void give(std::unique_ptr<Buffer> buffer, int64_t bytes) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (free.size() == KEPT) free.erase(free.begin());
      free.emplace_back(std::move(buffer), bytes);
    }
    std::mutex mutex;
    std::vector<std::pair<std::unique_ptr<Buffer>, int64_t>> free;
  };
  struct Held {
    std::shared_ptr<Shared> shared;
    std::unique_ptr<Buffer> buffer;
    int64_t bytes;
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace lowbit
