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
    state_.fetch_add(NEXT);
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Workers::run(const std::function<void(int)>& job) {
  if (threads_.empty()) return job(0);
  job_ = &job;
  state_.fetch_add(NEXT | OPEN);
  // A thread counts itself as asleep before it looks at the state a last time, so one of the two sees the
  // other.
  if (asleep_.load() > 0) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
    }
    wake_.notify_all();
  }
  job(0);
  state_.fetch_and(~OPEN);
  for (int spin = 0; (state_.load(std::memory_order_acquire) & INSIDE) > 0; ++spin) {
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
    // The state that stops is as new as a job's and may have been seen as one, so stop_ is asked for itself.
    const auto same = [&] { return state_.load() / NEXT == seen && !stop_; };
    for (int spin = 0; spin < SPINS && same(); ++spin) relax();
    if (same()) {
      std::unique_lock<std::mutex> lock(mutex_);
      asleep_.fetch_add(1);
      wake_.wait(lock, [&] { return !same(); });
      asleep_.fetch_sub(1);
    }
    if (stop_) return;
    uint64_t state = state_.load();
    bool inside = false;
    while ((state & OPEN) && !inside) inside = state_.compare_exchange_weak(state, state + 1);
    seen = state / NEXT;
    if (!inside) continue;
    (*job_)(worker);
    state_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace lowbit
