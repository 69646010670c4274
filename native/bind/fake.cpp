// Python interface of the training kernels: raw addresses of contiguous float32 memory, owned by torch.
#include <nanobind/stl/pair.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "bind/bind.h"
#include "ops/fake/select.h"

namespace lowbit {
namespace {

namespace nb = nanobind;
using Address = uintptr_t;

const fake::Kernels& kernels() {
  static const fake::Kernels best = fake::select(isa_present(Isa::avx512bw) ? Isa::avx512bw
                                                 : isa_present(Isa::avx2)   ? Isa::avx2
                                                                            : Isa::scalar);
  return best;
}

const float* in(Address a) { return reinterpret_cast<const float*>(a); }
float* out(Address a) { return reinterpret_cast<float*>(a); }

// Splits [0, count) at multiples of kBlock. Threads are made for the call: a pool would not survive a fork,
// and below this size one thread is faster.
template <class Job>
void split(int64_t count, int threads, Job job) {
  const int64_t blocks = (count + fake::kBlock - 1) / fake::kBlock;
  if (threads < 2 || blocks < 32) return job(int64_t{0}, count);
  const int64_t share = (blocks + threads - 1) / threads * fake::kBlock;
  std::vector<std::thread> helpers;
  for (int64_t start = share; start < count; start += share)
    helpers.emplace_back([=] { job(start, std::min(start + share, count)); });
  job(int64_t{0}, std::min(share, count));
  for (auto& helper : helpers) helper.join();
}

// Sums of all blocks, added in order whatever thread made them.
template <class Block>
std::pair<double, double> reduce(int64_t count, int threads, Block block) {
  std::vector<double> sums(2 * ((count + fake::kBlock - 1) / fake::kBlock));
  split(count, threads, [&](int64_t start, int64_t stop) {
    for (int64_t i = start; i < stop; i += fake::kBlock)
      block(i, std::min(fake::kBlock, stop - i), &sums[2 * (i / fake::kBlock)]);
  });
  double first = 0, second = 0;
  for (size_t i = 0; i < sums.size(); i += 2) first += sums[i], second += sums[i + 1];
  return {first, second};
}

}  // namespace

void bind_fake(nb::module_& m) {
  const auto free = nb::call_guard<nb::gil_scoped_release>();
  m.def(
      "uniform_forward",
      [](Address x, Address y, int64_t count, float s, float low, float high, int threads) {
        split(count, threads, [=](int64_t start, int64_t stop) {
          kernels().uniform_forward(in(x) + start, out(y) + start, stop - start, s, low, high);
        });
      },
      free);
  m.def(
      "half_wave_forward",
      [](Address x, Address y, int64_t count, float s, float high, int threads) {
        split(count, threads, [=](int64_t start, int64_t stop) {
          kernels().half_wave_forward(in(x) + start, out(y) + start, stop - start, s, high);
        });
      },
      free);
  m.def(
      "sign_forward",
      [](Address x, Address y, int64_t count, int threads) {
        split(count, threads, [=](int64_t start, int64_t stop) {
          kernels().sign_forward(in(x) + start, out(y) + start, stop - start);
        });
      },
      free);
  m.def(
      "lsq_backward",
      [](Address g, Address x, Address dx, int64_t count, float s, float low, float high, int threads) {
        return reduce(count, threads, [=](int64_t i, int64_t n, double* sums) {
          kernels().lsq_backward(in(g) + i, in(x) + i, out(dx) + i, n, s, low, high, sums);
        });
      },
      free);
  m.def(
      "clip_backward",
      [](Address g, Address x, Address dx, int64_t count, float low, float high, int threads) {
        return reduce(count, threads, [=](int64_t i, int64_t n, double* sums) {
          kernels().clip_backward(in(g) + i, in(x) + i, out(dx) + i, n, low, high, sums);
        });
      },
      free);
}

}  // namespace lowbit
