#!/usr/bin/env bash
# Mutation fuzzing of the encryption engine (tests/protocol/mls/fuzz): fuzz_mls.sh [SECONDS_PER_TARGET] [TARGET...]
# Needs clang. Two targets run at a time (MLS_FUZZ_JOBS). The corpus stays in build-fuzz/corpus (MLS_FUZZ_CORPUS), what is
# found in build-fuzz/found.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true

clang=
for c in clang++-19 clang++; do
  if command -v "$c" >/dev/null; then clang=$c; break; fi
done
[ -n "$clang" ] || { echo "fuzz_mls: there is no clang (scripts/setup.sh installs it)" >&2; exit 1; }

scripts/build.sh build-fuzz -DPARLEY_FUZZ=ON -DPARLEY_UNITY=ON -DCMAKE_CXX_COMPILER="$clang" -DCMAKE_C_COMPILER="${clang/++/}"

targets=("$@")
[ $# -gt 0 ] || targets=(groups joins structures trees store crypto)
export MLS_FUZZ_SECONDS=$seconds
printf '%s\n' "${targets[@]}" |
  xargs -P "${MLS_FUZZ_JOBS:-2}" -I{} tests/protocol/mls/fuzz/run.sh build-fuzz/bin/mls_fuzz_{} {}
