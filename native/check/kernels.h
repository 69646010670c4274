// Whether a kernel equals its naive reference on the random tile of a seed, the same on every processor.
#pragma once

#include "ops/isa.h"

namespace lowbit {

bool check_dot8(Isa isa, unsigned seed);
bool check_bits(Isa isa, unsigned seed);
bool check_tile8(Isa isa, unsigned seed);
bool check_floats(Isa isa, unsigned seed);

}  // namespace lowbit
