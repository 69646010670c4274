// Checks of kernels, for the tests.
#include <nanobind/stl/vector.h>

#include "bind/bind.h"
#include "check/kernels.h"
#include "check/layers.h"
#include "check/networks.h"
#include "engine/plan.h"

namespace lowbit {

namespace {

template <bool (*CHECK)(Isa, Random&)>
bool seeded(int isa, unsigned seed) {
  Random random(seed);
  return CHECK(static_cast<Isa>(isa), random);
}

}  // namespace

void bind_check(nanobind::module_& m) {
  m.def("check_dot8", &seeded<check_dot8>);
  m.def("check_tile8", &seeded<check_tile8>);
  m.def("check_floats", &seeded<check_floats>);
  m.def("check_bits", &seeded<check_bits>);
  m.def("check_layer", &seeded<check_layer>);
  m.def("split_from", &split_from);
  m.def("check_network", [](int isa, unsigned seed, int threads) {
    return run_network(static_cast<Isa>(isa), Random(seed), threads);
  });
}

}  // namespace lowbit
