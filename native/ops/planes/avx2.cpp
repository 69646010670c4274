#include "ops/planes/lanes.h"
#include "ops/planes/select.h"

namespace lowbit {

void planes_1x32_avx2(const PlaneSplit& s) { split_lanes(s); }

}  // namespace lowbit
