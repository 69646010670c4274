#!/usr/bin/env bash
# Lets libFuzzer choose layers, networks and kernels' operands, under AddressSanitizer, for some seconds; what differs from
# the reference is a crash. Needs clang with its runtime. Inputs found are kept in build/fuzz/corpus, a crash beside it.
# Usage: scripts/fuzz.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
if ! echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
  clang++ -x c++ -fsanitize=fuzzer,address - -o /dev/null 2> /dev/null; then
  echo "scripts/fuzz.sh: no clang++ with libFuzzer; as root run: apt-get install clang libclang-rt-dev" >&2
  [[ -z ${CI:-} ]]
  exit
fi
export PATH="$PWD/.venv/bin:$PATH"
cmake -S . -B build/fuzz -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DLOWBIT_PYTHON=OFF -DLOWBIT_SANITIZE=ON \
  -DLOWBIT_FUZZ=ON > /dev/null
cmake --build build/fuzz
mkdir -p build/fuzz/corpus
build/fuzz/lowbit_fuzz -max_total_time="$seconds" -max_len=4096 -verbosity=0 -print_funcs=0 -print_final_stats=1 \
  -artifact_prefix=build/fuzz/ build/fuzz/corpus
