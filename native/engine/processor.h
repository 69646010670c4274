// Which instruction sets the processor that runs this has.
#pragma once

#include "ops/isa.h"

namespace lowbit {

bool isa_present(Isa isa);

}  // namespace lowbit
