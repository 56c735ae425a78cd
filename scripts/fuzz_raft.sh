#!/usr/bin/env bash
# Fuzzes the replication layer (tests/cluster/fuzz), one run for each seed from FROM to TO.
#
#   scripts/fuzz_raft.sh FROM TO [options]    for example: scripts/fuzz_raft.sh 1 10000 --jobs 2 --keep-going
#   scripts/fuzz_raft.sh --trace SEED         that seed alone, event by event
#
# All other options go to raft_fuzz as they are (build/bin/raft_fuzz --help).
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,7s/^# \{0,1\}//p' "$0"; }

from='' to='' more=()
while [ $# -gt 0 ]; do
  case $1 in
  --help | -h) usage && exit 0 ;;
  --trace)
    [ $# -gt 1 ] || { echo "fuzz_raft: --trace needs a seed" >&2 && exit 2; }
    from=$2 to=$2 more+=(--trace) && shift 2
    ;;
  --*) more+=("$1") && shift ;;
  *)
    if [ -z "$from" ]; then
      from=$1
    elif [ -z "$to" ]; then
      to=$1
    else
      more+=("$1") # the value of an option
    fi
    shift
    ;;
  esac
done
if [ -z "$from" ] || [ -z "$to" ]; then
  usage >&2
  exit 2
fi
[ -f build/build.ninja ] || cmake -S . -B build -G Ninja
cmake --build build --target raft_fuzz
exec build/bin/raft_fuzz --from "$from" --to "$to" ${more[@]+"${more[@]}"}
