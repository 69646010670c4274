// A pool of threads that lives as long as its plan.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace lowbit {

class Workers {
 public:
  explicit Workers(int threads);
  ~Workers();

  int threads() const { return static_cast<int>(threads_.size()) + 1; }

  // One caller at a time owns the pool; others run on their own thread.
  bool try_acquire() { return owner_.try_lock(); }
  void release() { owner_.unlock(); }

  // Calls job(0) here and job(worker) on every other thread that is there before that is done; waits for
  // those that came, not for those that sleep. So jobs take their parts of the work from a counter.
  void run(const std::function<void(int)>& job);

 private:
  void loop(int worker);

  // Of state_: how many threads are in the job, whether more may come, and the number of the job.
  static constexpr uint64_t INSIDE = (1 << 15) - 1, OPEN = 1 << 15, NEXT = 1 << 16;

  std::mutex owner_, mutex_;
  std::condition_variable wake_;
  const std::function<void(int)>* job_ = nullptr;
  std::atomic<uint64_t> state_{0};
  std::atomic<int> asleep_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

}  // namespace lowbit
