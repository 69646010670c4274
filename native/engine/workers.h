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

  // Calls job(worker) for every worker 0..threads - 1, the caller being worker 0, and waits for all.
  void run(const std::function<void(int)>& job);

 private:
  void loop(int worker);

  std::mutex owner_, mutex_;
  std::condition_variable wake_;
  const std::function<void(int)>* job_ = nullptr;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> pending_{0};
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lowbit
