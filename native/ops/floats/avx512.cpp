#include "ops/floats/lanes.h"
#include "ops/floats/select.h"

namespace lowbit {

void floats_f32_avx512bw(const FloatsTile& t) { floats_lanes(t); }

}  // namespace lowbit
