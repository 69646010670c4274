#include "engine/workers.h"

namespace lowbit {

namespace {
constexpr int SPINS = 4000;  // some 10 us: steps of one image follow each other faster than a thread wakes up

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}
}  // namespace

Workers::Workers(int threads) {
  for (int i = 1; i < threads; ++i) threads_.emplace_back([this, i] { loop(i); });
}

Workers::~Workers() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Workers::run(const std::function<void(int)>& job) {
  if (threads_.empty()) return job(0);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    job_ = &job;
    pending_.store(static_cast<int>(threads_.size()));
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  job(0);
  for (int spin = 0; pending_.load(std::memory_order_acquire) > 0; ++spin) {
    if (spin < SPINS) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

void Workers::loop(int worker) {
  uint64_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < SPINS && generation_.load(std::memory_order_acquire) == seen; ++spin) relax();
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
      seen = generation_.load();
      if (stop_) return;
    }
    (*job_)(worker);
    pending_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace lowbit
