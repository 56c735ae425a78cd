#!/usr/bin/env bash
# The live peers as a test: `ctest.sh ARGUMENTS...`, which are those of drive.mjs. Where the other implementations are
# not installed it is skipped (exit code 77), and ctest's summary says so: a registry that is down is no fault of ours.
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
