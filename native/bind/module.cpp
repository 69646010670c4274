// The Python module lowbit.runtime._kernels.

#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>

#include <map>
#include <string>

#include "bind/bind.h"

namespace nb = nanobind;

namespace {

// Instruction sets of the processor this process runs on, by the names that compilers use.
std::map<std::string, bool> simd_features() {
  std::map<std::string, bool> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
  found["popcnt"] = __builtin_cpu_supports("popcnt");
  found["fma"] = __builtin_cpu_supports("fma");
  found["avx2"] = __builtin_cpu_supports("avx2");
  found["avx512f"] = __builtin_cpu_supports("avx512f");
  found["avx512bw"] = __builtin_cpu_supports("avx512bw");
  found["avx512vl"] = __builtin_cpu_supports("avx512vl");
  found["avx512dq"] = __builtin_cpu_supports("avx512dq");
  found["avx512vnni"] = __builtin_cpu_supports("avx512vnni");
  found["avx512vbmi"] = __builtin_cpu_supports("avx512vbmi");
  found["avx512bitalg"] = __builtin_cpu_supports("avx512bitalg");
  found["avx512vpopcntdq"] = __builtin_cpu_supports("avx512vpopcntdq");
  found["amx"] = lowbit::isa_present(lowbit::Isa::amx);
#elif defined(__aarch64__)
  found["neon"] = true;
#endif
  return found;
}

}  // namespace

NB_MODULE(_kernels, m) {
  m.def("simd_features", &simd_features, "Instruction sets of this processor: name -> present.");
  lowbit::bind_epilogue(m);
  lowbit::bind_fake(m);
  lowbit::bind_plan(m);
  lowbit::bind_check(m);
  lowbit::bind_peak(m);
}
