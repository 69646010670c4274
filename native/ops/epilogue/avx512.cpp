#include "ops/epilogue/lanes.h"
#include "ops/epilogue/select.h"

namespace lowbit {

void epilogue_4x16_avx512bw(const EpilogueTile& e) { epilogue_lanes(e); }

}  // namespace lowbit
