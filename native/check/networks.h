// Small networks of random weights, executed by the whole engine.
#pragma once

#include <cstdint>
#include <vector>

#include "check/random.h"
#include "ops/isa.h"

namespace lowbit {

// Bits of the outputs of three images through a random network. They depend on nothing but the numbers drawn:
// not on the processor, the instruction set or the number of threads.
std::vector<uint32_t> run_network(Isa isa, Random random, int threads);

}  // namespace lowbit
