#!/usr/bin/env bash
# Fuzzes the replication layer with the seeds FROM to TO. More options go to raft_fuzz as they are, for example
#   scripts/fuzz_raft.sh 1 10000 --jobs 2 --keep-going
#   scripts/fuzz_raft.sh 4711 4711 --trace
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: $0 FROM TO [raft_fuzz options]" >&2
  exit 2
fi
from=$1
to=$2
shift 2
cd "$(dirname "$0")/.."
[ -f build/build.ninja ] || cmake -S . -B build -G Ninja
cmake --build build --target raft_fuzz
exec build/bin/raft_fuzz --from "$from" --to "$to" "$@"
