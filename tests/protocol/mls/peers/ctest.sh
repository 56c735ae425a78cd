#!/usr/bin/env bash
# Runs the live peers as a test: `ctest.sh ARGUMENTS...`, with the arguments of drive.mjs. If the other
# implementations are not installed, the test is skipped (exit code 77) and ctest's summary shows it: a
# registry that cannot be reached is not a failure of our code.
set -euo pipefail
cd "$(dirname "$0")"
missing=
command -v node >/dev/null || missing="node is missing"
[ -d node_modules/ts-mls ] && [ -d node_modules/@wireapp/core-crypto ] || missing="npm ci in this directory has not installed them"
if [ -n "$missing" ]; then
  echo "no other implementation to talk to: $missing"
  [ ! -s npm.log ] || tail -5 npm.log
  exit 77
fi
exec node drive.mjs "$@"
