// lowbit_check: every kernel against its reference and small networks, on every instruction set that is here.
// Prints one line for each, the last word of a network's is a digest of its outputs that any two processors
// must share. Exit status 1 where something differs.
#include <cstdio>
#include <utility>

#include "check/kernels.h"
#include "check/layers.h"
#include "check/networks.h"
#include "engine/plan.h"
#include "engine/processor.h"

namespace {

constexpr unsigned SEEDS = 300, NETWORKS = 60;

const std::pair<const char*, bool (*)(lowbit::Isa, lowbit::Random&)> CHECKS[] = {
    {"dot8", lowbit::check_dot8},
    {"bits", lowbit::check_bits},
    {"nibbles", lowbit::check_nibbles},
    {"tile8", lowbit::check_tile8},
    {"floats", lowbit::check_floats},
    {"layer", lowbit::check_layer},
    {"binary_layer", lowbit::check_binary_layer}};
const char* const ISAS[] = {"scalar", "avx2", "avx512bw", "avx512", "amx", "neon"};

// FNV-1a
uint64_t digest(uint64_t hash, const std::vector<uint32_t>& words) {
  for (uint32_t word : words)
    for (int i = 0; i < 32; i += 8) hash = (hash ^ (word >> i & 255)) * 1099511628211u;
  return hash;
}

}  // namespace

int main() {
  lowbit::split_from(0);  // every step on all threads
  int wrong = 0;
  for (int number = 0; number < 6; ++number) {
    const auto isa = static_cast<lowbit::Isa>(number);
    if (!lowbit::isa_present(isa)) continue;
    for (const auto& [name, check] : CHECKS) {
      unsigned failed = 0;
      for (unsigned seed = 0; seed < SEEDS; ++seed) {
        lowbit::Random random(seed);
        failed += !check(isa, random);
      }
      std::printf("%s kernel %s %s\n", ISAS[number], name, failed ? "differs" : "equal");
      wrong += failed != 0;
    }
    uint64_t hash = 14695981039346656037u;
    for (unsigned seed = 0; seed < NETWORKS; ++seed) {
      const auto outputs = lowbit::run_network(isa, lowbit::Random(seed), 1);
      hash = digest(hash, outputs);
      wrong += lowbit::run_network(isa, lowbit::Random(seed), 3) != outputs;
    }
    std::printf("%s networks %u %016llx\n", ISAS[number], NETWORKS, static_cast<unsigned long long>(hash));
  }
  return wrong ? 1 : 0;
}
