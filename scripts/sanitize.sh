#!/usr/bin/env bash
# Builds the native module with AddressSanitizer and UndefinedBehaviorSanitizer in an environment of its own (which
# borrows the dependencies of .venv) and runs the tests of the runtime and of hostile files on it.
# Usage: scripts/sanitize.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=build/sanitize/venv
python=$venv/bin/python
site() { "$1" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])'; }

[[ -x $python ]] || .venv/bin/python -m venv "$venv"
# A path in a .pth file is searched, but .pth files below it are not read: the editable install stays out of the way.
site .venv/bin/python > "$(site "$python")/dependencies.pth"
PATH="$PWD/.venv/bin:$PATH" "$python" -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps \
  --force-reinstall . -C cmake.define.LOWBIT_SANITIZE=ON -C install.strip=false -C build-dir=build/sanitize/work

targets=("$@")
# Every kernel and engine, hostile files, files of older formats. Sanitizers take memory of their own, so tests of how
# much is taken say nothing here.
[[ ${#targets[@]} -gt 0 ]] || targets=(tests/runtime tests/test_file_fuzz.py tests/test_golden_files.py
  tests/test_pixels.py -m "not slow" -k "not memory and not peak")
# Leaks are not looked for: the interpreter itself keeps memory until it exits.
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
  "$python" -m pytest -q -p no:cacheprovider "${targets[@]}"
