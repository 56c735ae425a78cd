#!/usr/bin/env bash
# Runs clang-tidy (.clang-tidy) over sources of the tree; needs a configured build folder for the compiler's arguments.
#
#   scripts/tidy.sh               the decisions and the edges that stand between a message and its disk: what the gate checks
#   scripts/tidy.sh --changed     sources that differ from main, whatever they are
#   scripts/tidy.sh FILE…         these
#
# PARLEY_BUILD_DIR names another build folder than build; PARLEY_TIDY_SECONDS is how long it may take (600).
set -euo pipefail
cd "$(dirname "$0")/.."
build=${PARLEY_BUILD_DIR:-build}
seconds=${PARLEY_TIDY_SECONDS:-600}

# Older ones cannot read the ranges of Debian 12's standard library.
tidy=
for c in clang-tidy-19 clang-tidy-20 clang-tidy; do
  if command -v "$c" >/dev/null; then tidy=$c; break; fi
done
[ -n "$tidy" ] || { echo "tidy: there is no clang-tidy (scripts/setup.sh installs it)" >&2; exit 1; }
[ -e "$build/compile_commands.json" ] || { echo "tidy: $build is not configured (cmake -S . -B $build -G Ninja)" >&2; exit 1; }

# Files with CAF or KJ take ten times as long to read, so the gate leaves them to --changed.
case ${1:-} in
  '') files=$(git ls-files 'actors/core/*.cpp' 'protocol/values/*.cpp' 'storage/*.cpp' 'cluster/machine/*.cpp' \
    'cluster/replication/*.cpp' 'cluster/membership/formation.cpp' 'cluster/membership/reconfiguration.cpp') ;;
  --changed)
    base=$(git merge-base HEAD main 2>/dev/null || git merge-base HEAD origin/main)
    files=$(git diff --name-only --diff-filter=d "$base" -- '*.cpp')
    ;;
  -*) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
  *) files=$(printf '%s\n' "$@") ;;
esac
[ -n "$files" ] || { echo "tidy: nothing to look at"; exit 0; }

# The build uses g++; of clang's own warnings one is a false alarm: it does not see that a generic lambda calls a member.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if printf '%s\n' "$files" | timeout "$seconds" xargs -P 2 -n 1 "$tidy" -p "$build" --quiet \
  --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-ignored-gch --extra-arg=-Wno-unused-lambda-capture >"$log" 2>&1; then
  echo "tidy: $(printf '%s\n' "$files" | wc -l) sources, nothing found"
else
  status=$?
  [ $status -ne 124 ] || echo "tidy: not done after $seconds s" >&2
  grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -header-filter' "$log" >&2 || true
  exit 1
fi
