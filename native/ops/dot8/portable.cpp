#include "ops/dot8/reference.h"
#include "ops/dot8/select.h"

namespace lowbit {

void dot8_u8s8_16x64_portable(const DotTile& t) { dot8_reference(t); }

}  // namespace lowbit
