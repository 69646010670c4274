// Small networks of random weights, executed by the whole engine.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/isa.h"

namespace lowbit {

// Bits of the outputs of three images through the network of a seed. They depend on nothing but the seed: not
// on the processor, the instruction set or the number of threads.
std::vector<uint32_t> run_network(Isa isa, unsigned seed, int threads);

}  // namespace lowbit
