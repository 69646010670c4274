#include "ops/pool/lanes.h"
#include "ops/pool/select.h"

namespace lowbit {
namespace {

void max_floats(const PoolWindow& w, int32_t* out) { pool_max_floats(w, out); }
void max_codes(const PoolWindow& w, int32_t* out) { pool_max_codes(w, out); }
void mean_floats(const PoolWindow& w, int32_t* out) { pool_mean_floats(w, out); }
void mean_codes(const PoolWindow& w, int32_t* out) { pool_mean_codes(w, out); }

}  // namespace

extern const PoolKernels pool_1x16_avx2 = {max_floats, max_codes, mean_floats, mean_codes};

}  // namespace lowbit
