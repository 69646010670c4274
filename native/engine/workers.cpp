#include "engine/workers.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace lowbit {

namespace {

// How long a thread looks for the next job before it sleeps: steps of one image follow each other faster than
// a thread wakes up.
constexpr std::chrono::microseconds PATIENCE(100);

int this_process() {
#if defined(__unix__) || defined(__APPLE__)
  return static_cast<int>(getpid());
#else
  return 1;
#endif
}
constexpr int NO_PROCESS = -1;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Calls relax() while `waiting`, for some time; whether it still does then.
template <class Waiting>
bool patiently(Waiting waiting) {
  const auto end = std::chrono::steady_clock::now() + PATIENCE;
  do {
    for (int i = 0; i < 16; ++i) {
      if (!waiting()) return false;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return true;
}

}  // namespace

struct Workers::Threads {
  explicit Threads(int count) {
    for (int i = 1; i < count; ++i) {
      try {
        threads.emplace_back([this, i] { loop(i); });
      } catch (const std::system_error& error) {
        end();
        throw std::runtime_error("cannot start thread " + std::to_string(i + 1) + " of " +
                                 std::to_string(count) + ": " + error.what());
      }
    }
  }
  ~Threads() { end(); }

  void run(const std::function<void(int)>& its_job) {
    // Closes the job and waits for those inside, also when job(0) throws: the job is gone after that.
    struct Closing {
      ~Closing() {
        threads.state.fetch_and(~OPEN);
        const auto inside = [&] { return (threads.state.load(std::memory_order_acquire) & INSIDE) > 0; };
        if (patiently(inside))
          while (inside()) std::this_thread::yield();
      }
      Threads& threads;
    };
    job = &its_job;
    state.fetch_add(NEXT | OPEN);
    const Closing closing{*this};
    // A thread counts itself as asleep before it looks at the state a last time, so one of the two sees the
    // other.
    if (asleep.load() > 0) {
      {
        std::lock_guard<std::mutex> lock(mutex);
      }
      wake.notify_all();
    }
    its_job(0);
  }

  void end() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      stop = true;
      state.fetch_add(NEXT);
    }
    wake.notify_all();
    for (auto& thread : threads) thread.join();
    threads.clear();
  }

  void loop(int worker) {
    uint64_t seen = 0;
    for (;;) {
      // The state that stops is as new as a job's and may have been seen as one, so stop is asked for itself.
      const auto same = [&] { return state.load() / NEXT == seen && !stop; };
      if (patiently(same)) {
        std::unique_lock<std::mutex> lock(mutex);
        asleep.fetch_add(1);
        wake.wait(lock, [&] { return !same(); });
        asleep.fetch_sub(1);
      }
      if (stop) return;
      uint64_t now = state.load();
      bool inside = false;
      while ((now & OPEN) && !inside) inside = state.compare_exchange_weak(now, now + 1);
      seen = now / NEXT;
      if (!inside) continue;
      (*job)(worker);
      state.fetch_sub(1, std::memory_order_release);
    }
  }

  // Of state: how many threads are in the job, whether more may come, and the number of the job.
  static constexpr uint64_t INSIDE = (1 << 15) - 1, OPEN = 1 << 15, NEXT = 1 << 16;

  std::mutex owner, mutex;
  std::condition_variable wake;
  const std::function<void(int)>* job = nullptr;
  std::atomic<uint64_t> state{0};
  std::atomic<int> asleep{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
};

Workers::Workers(int threads)
    : count_(threads), process_(this_process()), threads_(std::make_unique<Threads>(threads)) {}

Workers::~Workers() {
  // Threads of another process cannot be ended here, nor what they wait for be destroyed.
  if (process_ != this_process()) (void)threads_.release();
}

std::unique_lock<std::mutex> Workers::try_acquire() {
  int process = process_;
  if (process != this_process()) {
    // The first to come makes the threads, others run alone until they are there.
    if (process == NO_PROCESS || !process_.compare_exchange_strong(process, NO_PROCESS)) return {};
    (void)threads_.release();
    try {
      threads_ = std::make_unique<Threads>(count_);
    } catch (...) {
      process_ = process;
      throw;
    }
    process_ = this_process();
  }
  return std::unique_lock<std::mutex>(threads_->owner, std::try_to_lock);
}

void Workers::run(const std::function<void(int)>& job) {
  if (count_ == 1) return job(0);
  threads_->run(job);
}

}  // namespace lowbit
