#!/usr/bin/env bash
# Runs the foreign client as a test: `ctest.sh PARLEYD`. Without a Node.js that it can run with, the test is skipped
# (exit code 77), and ctest's summary shows it; in CI that is a failure.
set -euo pipefail
cd "$(dirname "$0")"
missing=
if ! command -v node >/dev/null; then
  missing="node is missing"
elif ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 18 || (a === 18 && b >= 19) ? 0 : 1)'; then
  missing="node $(node --version) is older than 18.19"
fi
if [ -n "$missing" ]; then
  echo "no foreign client: $missing"
  [ -n "${CI:-}" ] && exit 1
  exit 77
fi
exec node foreign_test.mjs "$@"
