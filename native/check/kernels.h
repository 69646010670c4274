// Whether a kernel equals its naive reference on a random tile.
#pragma once

#include "check/random.h"
#include "ops/isa.h"

namespace lowbit {

bool check_dot8(Isa isa, Random& random);
bool check_bits(Isa isa, Random& random);
bool check_nibbles(Isa isa, Random& random);
bool check_tile8(Isa isa, Random& random);
bool check_floats(Isa isa, Random& random);

}  // namespace lowbit
