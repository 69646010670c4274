#include "engine/units.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace lowbit {

ByteOperand byte_operand(const Units& units) {
  ByteOperand result;
  const auto [low, high] = std::minmax_element(units.begin(), units.end());
  result.operand.resize(units.size());
  if (*low >= -128 && *high <= 127) {
    result.fits = true;
    for (size_t i = 0; i < units.size(); ++i) result.operand[i] = static_cast<int8_t>(units[i]);
  } else {
    // Equally spaced units of at most 256 codes: the code itself, moved to the middle of a signed byte.
    const int32_t slope = units.size() > 1 ? units[1] - units[0] : 1;
    const int32_t middle = static_cast<int32_t>(units.size()) / 2;
    result.fits = units.size() <= 256;
    for (size_t i = 0; i < units.size(); ++i) {
      const int32_t code = static_cast<int32_t>(i);
      result.fits = result.fits && units[i] == units[0] + slope * code;
      result.operand[i] = static_cast<int8_t>(code - middle);
    }
    result.slope = slope;
    result.first = units[0] + slope * middle;
  }
  for (int8_t v : result.operand) result.largest = std::max(result.largest, std::abs(int32_t(v)));
  return result;
}

namespace {

int32_t common_divisor(const Units& units) {
  int32_t divisor = 0;
  for (int32_t u : units) divisor = std::gcd(divisor, std::abs(u));
  return divisor == 0 ? 1 : divisor;
}

// Signs only: unit = k * sum over i of 2^i * (+1 or -1), which takes the odd numbers -(2^n - 1)..2^n - 1
// times k.
bool as_signs(const Units& units, int32_t divisor, PlaneOperand& result) {
  int32_t largest = 0;
  for (int32_t u : units) {
    if (u / divisor % 2 == 0) return false;
    largest = std::max(largest, std::abs(u / divisor));
  }
  int n = 1;
  while ((1 << n) - 1 < largest) ++n;
  if (n > 8 || (n > 1 && largest != (1 << n) - 1)) return false;
  result.coding = Coding::xor_;
  for (int i = 0; i < n; ++i) {
    result.weight.push_back(divisor << i);
    std::vector<bool> negative;
    // unit / k = 2 * index - (2^n - 1); bit i of the index is 1 where sign i is +
    for (int32_t u : units) negative.push_back(((u / divisor + (1 << n) - 1) / 2 >> i & 1) == 0);
    result.planes.push_back(negative);
  }
  return true;
}

}  // namespace

PlaneOperand plane_operand(const Units& units) {
  PlaneOperand result;
  const int32_t divisor = common_divisor(units);
  if (as_signs(units, divisor, result)) return result;
  const auto [low, high] = std::minmax_element(units.begin(), units.end());
  if (*low == -divisor && *high == divisor) {
    result.coding = Coding::mask;
    result.weight = {divisor};
    result.planes.resize(2);
    for (int32_t u : units) {
      result.planes[0].push_back(u != 0);
      result.planes[1].push_back(u < 0);
    }
    return result;
  }
  // Two's complement of unit / divisor.
  const int32_t smallest = *low / divisor, largest = *high / divisor;
  int n = 1;
  if (smallest >= 0) {
    while ((int64_t(1) << n) - 1 < largest) ++n;
  } else {
    while (-(int64_t(1) << (n - 1)) > smallest || (int64_t(1) << (n - 1)) - 1 < largest) ++n;
  }
  for (int i = 0; i < n; ++i) {
    result.weight.push_back(i == n - 1 && smallest < 0 ? -(divisor << i) : divisor << i);
    std::vector<bool> plane;
    for (int32_t u : units) plane.push_back((static_cast<uint32_t>(u / divisor) >> i) & 1);
    result.planes.push_back(plane);
  }
  return result;
}

NibbleOperand nibble_operand(const Units& units, int bits, int32_t largest) {
  constexpr int32_t FEWEST = 8;  // sums, or adding up bytes takes as long
  const int32_t codes = 1 << bits;
  NibbleOperand result;
  if (static_cast<int32_t>(units.size()) > codes || largest >= codes) return result;
  result.slope = common_divisor(units);
  int32_t most = 0;  // of half a byte
  for (int32_t unit : units) {
    const int32_t w = unit / result.slope;
    if (std::abs(w) > 255) return result;
    result.w.push_back(w);
    most = std::max(most, std::abs(w) * largest * (4 / bits));
  }
  result.w.resize(static_cast<size_t>(codes));  // codes that no weight has
  result.fits = most * FEWEST <= 255;
  result.most = most == 0 ? 255 : 255 / most;
  return result;
}

}  // namespace lowbit
