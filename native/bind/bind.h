// Parts of the module, one a file.
#pragma once

#include <nanobind/nanobind.h>

#include "engine/processor.h"

namespace lowbit {

void bind_epilogue(nanobind::module_& m);
void bind_fake(nanobind::module_& m);
void bind_plan(nanobind::module_& m);
void bind_check(nanobind::module_& m);
void bind_peak(nanobind::module_& m);

}  // namespace lowbit
