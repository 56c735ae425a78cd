#!/usr/bin/env bash
# Simulates whole nodes with the seeds FROM to TO. More options go to node_sim as they are, for example
#   scripts/sim.sh 1 1000 --jobs 2 --keep-going
#   scripts/sim.sh 1 40 --trace 17                  seed 17 alone, event by event
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: $0 FROM TO [--jobs N] [--trace SEED] [node_sim options]" >&2
  exit 2
fi
from=$1
to=$2
shift 2
more=()
while [ $# -gt 0 ]; do
  if [ "$1" = --trace ] && [ $# -gt 1 ]; then
    from=$2
    to=$2
    more+=(--trace)
    shift 2
  else
    more+=("$1")
    shift
  fi
done
cd "$(dirname "$0")/.."
[ -f build/build.ninja ] || cmake -S . -B build -G Ninja
cmake --build build --target node_sim
exec build/bin/node_sim --from "$from" --to "$to" ${more[@]+"${more[@]}"}
