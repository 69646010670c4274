// Splits codes into bit planes, or translates them, for layers that read them in another form.
#pragma once

#include <cstdint>

namespace lowbit {

struct PlaneSplit {
  const uint8_t* codes;  // [pixels][channels]
  const uint8_t* table;  // [256] what each code becomes, or null
  uint8_t* out;  // uint32 [pixels][groups][words][planes], or uint8 [pixels][channels] when planes is 0
  int64_t pixel, pixels;  // first and number
  int64_t channels;
  int group;  // channels of one group; each starts at a word of its own
  int words, planes;
};

using PlaneKernel = void (*)(const PlaneSplit&);

}  // namespace lowbit
