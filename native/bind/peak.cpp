// Measures what a kind of arithmetic reaches on this processor.
#include <algorithm>
#include <chrono>

#include "bind/bind.h"
#include "ops/peak/select.h"

namespace nb = nanobind;

namespace lowbit {

namespace {

// Operations a nanosecond: the best of many short samples, since other work on the core only slows them.
double measure(Isa isa, Arithmetic arithmetic) {
  using Clock = std::chrono::steady_clock;
  constexpr auto SAMPLE = std::chrono::microseconds(200);
  constexpr int SAMPLES = 100;  // 20 ms
  const PeakLoop loop = select_peak(isa, arithmetic);
  if (!loop || !isa_present(isa)) return 0;
  int64_t rounds = 16;
  for (;; rounds *= 2) {
    const auto start = Clock::now();
    loop(rounds);
    if (Clock::now() - start > SAMPLE) break;
  }
  double best = 0;
  for (int i = 0; i < SAMPLES; ++i) {
    const auto start = Clock::now();
    const auto operations = static_cast<double>(loop(rounds));
    best =
        std::max(best, operations / std::chrono::duration<double, std::nano>(Clock::now() - start).count());
  }
  return best;
}

}  // namespace

void bind_peak(nb::module_& m) {
  m.def("peak", [](int isa, int arithmetic) {
    nb::gil_scoped_release unlocked;
    return measure(static_cast<Isa>(isa), static_cast<Arithmetic>(arithmetic));
  });
}

}  // namespace lowbit
