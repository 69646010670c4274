// A pool of threads that lives as long as its plan.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

namespace lowbit {

class Workers {
 public:
  // Throws std::runtime_error where the system refuses a thread.
  explicit Workers(int threads);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  int threads() const { return count_; }

  // One caller at a time owns the pool, while it holds this; the others get none and run on their own thread.
  // A process that was forked after the pool was made has no threads of it, and gets new ones here.
  std::unique_lock<std::mutex> try_acquire();

  // Calls job(0) here and job(worker) on every other thread that is there before that is done; waits for
  // those that came, not for those that sleep. So jobs take their parts of the work from a counter. What
  // job(0) throws is thrown when all have left; on the other threads jobs may not throw.
  void run(const std::function<void(int)>& job);

 private:
  struct Threads;
  const int count_;
  std::atomic<int> process_;
  std::unique_ptr<Threads> threads_;
};

}  // namespace lowbit
