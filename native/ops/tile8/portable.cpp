#include "ops/tile8/reference.h"
#include "ops/tile8/select.h"

namespace lowbit {

void tile8_open_portable(int) {}
void tile8_u8s8_96x16_portable(const TileJob& t) { tile8_reference(t); }
void tile8_close_portable() {}

}  // namespace lowbit
