// Checks of kernels, for the tests.
#include <nanobind/stl/vector.h>

#include "bind/bind.h"
#include "check/kernels.h"
#include "check/networks.h"

namespace lowbit {

void bind_check(nanobind::module_& m) {
  m.def("check_dot8", [](int isa, unsigned seed) { return check_dot8(static_cast<Isa>(isa), seed); });
  m.def("check_tile8", [](int isa, unsigned seed) { return check_tile8(static_cast<Isa>(isa), seed); });
  m.def("check_floats", [](int isa, unsigned seed) { return check_floats(static_cast<Isa>(isa), seed); });
  m.def("check_bits", [](int isa, unsigned seed) { return check_bits(static_cast<Isa>(isa), seed); });
  m.def("check_network", [](int isa, unsigned seed, int threads) {
    return run_network(static_cast<Isa>(isa), seed, threads);
  });
}

}  // namespace lowbit
