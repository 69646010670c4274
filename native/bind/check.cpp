// Checks of kernels, for the tests.
#include <nanobind/stl/array.h>
#include <nanobind/stl/vector.h>

#include <array>

#include "bind/bind.h"
#include "check/kernels.h"
#include "check/layers.h"
#include "check/networks.h"
#include "engine/parts.h"
#include "engine/plan.h"

namespace lowbit {

namespace {

template <bool (*CHECK)(Isa, Random&)>
bool seeded(int isa, unsigned seed) {
  Random random(seed);
  return CHECK(static_cast<Isa>(isa), random);
}

struct Sized : Step {
  void run(const Context&, const Range&) const override {}
};

// [part] first and last pixel, first and last block, last ones excluded.
std::vector<std::array<int64_t, 4>> parts(int64_t pixels, int64_t blocks, int64_t grain, int64_t threads) {
  Sized step;
  step.pixels = pixels, step.blocks = blocks, step.grain = grain;
  const Parts found(step, {0, pixels, 0, blocks}, threads);
  std::vector<std::array<int64_t, 4>> ranges;
  for (int64_t i = 0; i < found.count(); ++i) {
    const Range r = found.range(i);
    ranges.push_back({r.pixel, r.pixel_end, r.block, r.block_end});
  }
  return ranges;
}

}  // namespace

void bind_check(nanobind::module_& m) {
  m.def("check_dot8", &seeded<check_dot8>);
  m.def("check_nibbles", &seeded<check_nibbles>);
  m.def("check_tile8", &seeded<check_tile8>);
  m.def("check_floats", &seeded<check_floats>);
  m.def("check_bits", &seeded<check_bits>);
  m.def("check_layer", &seeded<check_layer>);
  m.def("check_binary_layer", &seeded<check_binary_layer>);
  m.def("split_from", &split_from);
  m.def("parts", &parts);
  m.def("check_network", [](int isa, unsigned seed, int threads) {
    return run_network(static_cast<Isa>(isa), Random(seed), threads);
  });
}

}  // namespace lowbit
