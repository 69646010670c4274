#!/usr/bin/env bash
# Installs what the tests need from Debian: "data" only Fashion-MNIST, "all" also a browser, an emulator, a cross
# compiler and clang with libFuzzer. Does nothing where the packages are there; without root it says what is missing,
# and the tests that need it skip themselves.
set -euo pipefail

case "${1:-}" in
  data) wanted=(dataset-fashion-mnist) ;;
  all) wanted=(dataset-fashion-mnist chromium qemu-user gcc-aarch64-linux-gnu g++-aarch64-linux-gnu
    clang libclang-rt-dev) ;;
  *) echo "scripts/debian.sh: '${1:-}' given; use: scripts/debian.sh data|all" >&2; exit 2 ;;
esac

if ! command -v dpkg-query > /dev/null; then
  echo "scripts/debian.sh: not a Debian system; install the equivalents of: ${wanted[*]}" >&2
  exit 0
fi
missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2> /dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $(id -u) -ne 0 ]]; then
  echo "scripts/debian.sh: missing ${missing[*]}; as root run: apt-get install ${missing[*]}" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
install() { apt-get install -y -q --no-install-recommends "${missing[@]}" > "$log" 2>&1; }
# The package lists may be old or absent: only then are they fetched.
if ! install && ! { apt-get update -q > "$log" 2>&1 && install; }; then
  tail -5 "$log" >&2
  echo "scripts/debian.sh: could not install ${missing[*]}; the tests that need them will skip" >&2
fi
rm -f "$log"
