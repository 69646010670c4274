// lowbit_fuzz: libFuzzer chooses an instruction set, a check and the numbers that it draws; what differs is a
// crash.
#include <cstdio>
#include <cstdlib>

#include "check/kernels.h"
#include "check/layers.h"
#include "check/networks.h"
#include "engine/plan.h"
#include "engine/processor.h"

namespace {

using namespace lowbit;

bool check_network(Isa isa, Random& random) {
  return run_network(isa, random, 3) == run_network(Isa::scalar, random, 1);
}

bool (*const CHECKS[])(Isa, Random&) = {check_layer,   check_network, check_dot8,   check_bits,
                                        check_nibbles, check_tile8,   check_floats, check_binary_layer};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  split_from(0);  // every step on all threads
  if (size < 2) return -1;
  const auto isa = static_cast<Isa>(bytes[0] % 6);
  if (!isa_present(isa)) return -1;
  Random random(bytes + 2, size - 2);
  const int check = bytes[1] % 8;
  if (CHECKS[check](isa, random)) return 0;
  std::fprintf(stderr, "check %d differs on instruction set %d\n", check, static_cast<int>(isa));
  std::abort();
}
