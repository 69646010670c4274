// Copies the values of an image into numpy arrays of the shapes that the reference interpreter uses.
#pragma once

#include <tuple>
#include <vector>

#include "bind/arrays.h"
#include "engine/step.h"

namespace lowbit {

// A value to copy: id, kind (0 float, 1 codes, 2 acc), terms, channels, pixels, lowest code.
using Exported = std::tuple<int, int, int64_t, int64_t, int64_t, int32_t>;

// targets[i]: 32-bit array [batch, channels, pixels], accumulators [terms, batch, channels, pixels].
template <class P>
void export_values(P& plan, nb::ndarray<nb::c_contig, nb::device::cpu, nb::ro> x, Target<float> y,
                   const std::vector<Exported>& values,
                   const std::vector<nb::ndarray<nb::c_contig, nb::device::cpu>>& targets) {
  const auto batch = static_cast<int64_t>(x.shape(0));
  const auto in_bytes = static_cast<int64_t>(x.nbytes()) / batch,
             out_bytes = static_cast<int64_t>(y.nbytes()) / batch;
  std::vector<int> ids;
  for (const Exported& value : values) ids.push_back(std::get<0>(value));
  for (int64_t image = 0; image < batch; ++image) {
    size_t index = 0;
    plan.run_kept(static_cast<const uint8_t*>(x.data()) + image * in_bytes,
                  reinterpret_cast<uint8_t*>(y.data()) + image * out_bytes, ids,
                  [&](int, const uint8_t* from) {
                    const auto& [id, kind, terms, channels, pixels, low] = values[index];
                    auto* to = static_cast<uint32_t*>(targets[index].data());
                    ++index;
                    for (int64_t term = 0; term < terms; ++term)
                      for (int64_t c = 0; c < channels; ++c)
                        for (int64_t p = 0; p < pixels; ++p) {
                          const int64_t at = (term * pixels + p) * channels + c;
                          uint32_t v;
                          if (kind == 1) {
                            v = static_cast<uint32_t>(from[at] + low);
                          } else {
                            __builtin_memcpy(&v, from + 4 * at, 4);
                          }
                          to[((term * batch + image) * channels + c) * pixels + p] = v;
                        }
                  });
  }
}

}  // namespace lowbit
