// Whether a random layer equals the one that unpacks weights as it goes.
#pragma once

#include "check/random.h"
#include "ops/isa.h"

namespace lowbit {

bool check_layer(Isa isa, Random& random);
// The same of layers of one bit by one bit, which planes are made for.
bool check_binary_layer(Isa isa, Random& random);

}  // namespace lowbit
