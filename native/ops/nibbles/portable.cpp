#include "ops/nibbles/reference.h"
#include "ops/nibbles/select.h"

namespace lowbit {

void nibbles_1x1_portable(const NibbleTile& t) { nibbles_reference(t); }

void pack_pairs_portable(const uint8_t* from, int64_t count, uint8_t* to) {
  pack_pairs_reference(from, count, to);
}

}  // namespace lowbit
