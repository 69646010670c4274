// Threads that take parts of many jobs from a counter, some of them late, some asleep: for ThreadSanitizer.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include "engine/workers.h"

int main() {
  for (int threads : {2, 3, 5}) {
    lowbit::Workers workers(threads);
    std::mt19937 random(1);
    int64_t total = 0;
    std::vector<int> done(8);
    for (int job = 0; job < 20000; ++job) {
      std::atomic<int> next{0};
      const int parts = static_cast<int>(random() % 9);
      std::fill(done.begin(), done.end(), 0);
      workers.run([&](int) {
        for (int part; (part = next.fetch_add(1)) < parts;) ++done[static_cast<size_t>(part)];
      });
      for (int part = 0; part < 8; ++part) {
        if (done[static_cast<size_t>(part)] == (part < parts)) continue;
        std::printf("%d threads, job %d: part %d was done %d times\n", threads, job, part,
                    done[static_cast<size_t>(part)]);
        return 1;
      }
      total += parts;
      // Long enough for threads to stop looking and sleep.
      if (job % 2000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    // Pools that end while their threads still come from a job.
    for (int pool = 0; pool < 3000; ++pool) {
      lowbit::Workers brief(threads);
      for (int job = 0; job < pool % 3; ++job) brief.run([](int) {});
    }
    std::printf("%d threads, %lld parts\n", threads, static_cast<long long>(total));
  }
}
