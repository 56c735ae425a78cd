#!/usr/bin/env bash
# The whole gate: installs what is missing, builds, checks the format, runs clang-tidy, fuzzes the encryption engine for a
# minute, runs all tests. Each step says that it begins; the last lines say how long each took, or which one failed and
# which tests. `scripts/test.sh -L unit` gives its arguments to ctest, and leaves out clang-tidy and the fuzzing.
set -euo pipefail
cd "$(dirname "$0")/.."

step= began=$SECONDS times=
end_step() {
  [ -z "$step" ] || times+="${times:+, }$step $((SECONDS - began)) s"
  step= began=$SECONDS
}
begin() {
  end_step
  step=$1
  echo "test: $step"
}
finish() {
  local status=$? failed=build/Testing/Temporary/LastTestsFailed.log
  trap - EXIT
  echo
  if [ $status -eq 0 ]; then
    end_step
    echo "test: passed ($times)"
  else
    [ -z "$times" ] || echo "test: passed before: $times"
    if [ "$step" = tests ] && [ -s $failed ]; then
      sed 's/^[0-9]*:/test:   failed: /' $failed
    fi
    echo "test: FAILED: $step, after $((SECONDS - began)) s"
  fi
  exit $status
}
trap finish EXIT

begin set-up
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

# CI builds from nothing, so it compiles the files of a library together; by hand each is compiled by itself. Both ways
# are built often enough to keep working.
begin build
settings=(-DPARLEY_WERROR=OFF)
[ -z "${CI:-}" ] || settings=(-DPARLEY_WERROR=ON -DPARLEY_UNITY=ON)
scripts/build.sh build "${settings[@]}"

begin format
if formatter=$(scripts/find_clang_format.sh); then
  git ls-files '*.cpp' '*.hpp' '*.c' '*.h' | xargs "$formatter" --dry-run -Werror
elif [ -n "${CI:-}" ]; then
  exit 1
else
  step+=" (NOT CHECKED, see above)"
fi

# Chosen tests are asked for without these. The gate begins with the same seed each time; by hand it is another.
if [ $# -eq 0 ]; then
  begin clang-tidy
  # It wants the arguments of each file, which a build of files together does not have.
  cmake -S . -B build-tidy -G Ninja -DPARLEY_UNITY=OFF >/dev/null
  PARLEY_BUILD_DIR=build-tidy PARLEY_TIDY_SECONDS=600 scripts/tidy.sh

  begin fuzzing
  MLS_FUZZ_SEED=1 scripts/fuzz_mls.sh 10
fi

# Tests with real processes, real time and real disks share two cores badly: those run alone.
begin tests
rm -f build/Testing/Temporary/LastTestsFailed.log
ctest --test-dir build --output-on-failure -j 2 "$@"
