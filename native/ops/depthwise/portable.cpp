#include "ops/depthwise/reference.h"
#include "ops/depthwise/select.h"

namespace lowbit {

void depthwise_u8s16_1x16_portable(const DepthwiseTile& t) { depthwise_lanes(t); }

}  // namespace lowbit
