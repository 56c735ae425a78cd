#!/usr/bin/env bash
# Runs the unit, actor and cluster tests, the attacks among them, under AddressSanitizer and UndefinedBehaviorSanitizer, nodes
# and tools included: where a test starts processes, those are sanitized too. Then a few seeds of the replication fuzzer.
#
#   scripts/asan.sh                    all of them, and the fuzzer's seeds 1 to 50
#   scripts/asan.sh -R storage         arguments instead go to ctest; no fuzzing
#
# The build is in build-asan (PARLEY_ASAN_DIR names another place).
set -euo pipefail
cd "$(dirname "$0")/.."
top=${PARLEY_ASAN_DIR:-build-asan}

scripts/setup.sh
scripts/build.sh "$top" -DPARLEY_SANITIZE=address,undefined -DPARLEY_UNITY=ON tests_unit tests_actor tests_cluster raft_fuzz

export ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:suppressions=$PWD/tests/ubsan.supp${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
if [ $# -eq 0 ]; then
  "$top/bin/raft_fuzz" --from 1 --to 50
  set -- -L '^(unit|actor|cluster)$'
fi
cd "$top"
exec ctest --output-on-failure -j 2 "$@"
