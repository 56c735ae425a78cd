#!/usr/bin/env bash
# The whole gate: installs what is missing, builds, tests, checks the format. `scripts/test.sh -L unit` passes its
# arguments to ctest. The last lines are ctest's summary.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh

# Other implementations of MLS, for the tests that talk to them. What is installed and npm's cache come first, so that a
# registry that is down for a while breaks nothing. Without them those tests are skipped, and the last lines say so.
install_peers() (
  cd tests/protocol/mls/peers
  cmp -s package-lock.json node_modules/.installed && return
  for pause in 5 20 60 0; do
    if npm ci --prefer-offline --no-audit --no-fund >npm.log 2>&1; then
      cp package-lock.json node_modules/.installed
      return
    fi
    [ -n "${CI:-}" ] || break
    sleep "$pause"
  done
  echo "test: the MLS peers could not be installed (tests/protocol/mls/peers/npm.log): no test can talk to them"
)
install_peers

werror=OFF
[ -z "${CI:-}" ] || werror=ON
cmake -S . -B build -G Ninja -DPARLEY_WERROR=$werror >build.log 2>&1 || { cat build.log; exit 1; }
cmake --build build -j 2 >>build.log 2>&1 || { grep -E -A8 'error|warning' build.log | head -80; tail -20 build.log; exit 1; }

git ls-files '*.cpp' '*.hpp' '*.c' '*.h' | xargs clang-format --dry-run -Werror

# Chosen tests are asked for without these. The gate begins with the same seed each time; by hand it is another.
[ $# -gt 0 ] || MLS_FUZZ_SEED=1 scripts/fuzz_mls.sh 10

# Tests with real processes, real time and real disks share two cores badly: those run alone.
cd build
exec ctest --output-on-failure -j 2 "$@"
