#include "ops/image/lanes.h"
#include "ops/image/select.h"

namespace lowbit {

bool image_16x16_avx2(const ImageTile& t) { return image_lanes(t); }

}  // namespace lowbit
