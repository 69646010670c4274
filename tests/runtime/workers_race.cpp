// Threads that take parts of many jobs from a counter, some of them late, some asleep: for ThreadSanitizer.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <stdexcept>
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
    // Threads that look for work, that are about to sleep or that sleep: one comes all the same.
    for (int job = 0; job < 300; ++job) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 250));
      std::atomic<int> came{0};
      const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      workers.run([&](int worker) {
        if (worker) ++came;
        while (!came && std::chrono::steady_clock::now() < late) std::this_thread::yield();
      });
      if (came) continue;
      std::printf("%d threads, job %d: nobody came\n", threads, job);
      return 1;
    }
    // What job(0) throws comes when the others have left, and the pool goes on.
    for (int job = 0; job < 300; ++job) {
      auto inside = std::make_unique<std::atomic<int>>(0);
      int ended = 0;
      try {
        workers.run([&](int worker) {
          if (worker == 0) throw std::runtime_error("no memory");
          ++*inside;
          std::this_thread::sleep_for(std::chrono::microseconds(worker));
          --*inside;
        });
      } catch (const std::runtime_error&) {
        ended = 1 + *inside;
      }
      inside.reset();
      if (ended == 1) continue;
      std::printf("%d threads, job %d: ended %d\n", threads, job, ended);
      return 1;
    }
    // Pools that end while their threads still come from a job.
    for (int pool = 0; pool < 3000; ++pool) {
      lowbit::Workers brief(threads);
      if (pool % 10 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 250));
      for (int job = 0; job < pool % 3; ++job) brief.run([](int) {});
    }
    std::printf("%d threads, %lld parts\n", threads, static_cast<long long>(total));
  }
}
