// Array types of the Python interface.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <vector>

#include "engine/units.h"

namespace lowbit {

namespace nb = nanobind;

template <class T>
using Array = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
template <class T>
using Target = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

template <class T>
std::vector<T> to_vector(const Array<T>& array) {
  return std::vector<T>(array.data(), array.data() + array.size());
}

// int32 [terms, codes]
inline std::vector<Units> to_units(const Array<int32_t>& array) {
  std::vector<Units> terms;
  for (size_t i = 0; i < array.shape(0); ++i) {
    const int32_t* row = array.data() + i * array.shape(1);
    terms.emplace_back(row, row + array.shape(1));
  }
  return terms;
}

}  // namespace lowbit
