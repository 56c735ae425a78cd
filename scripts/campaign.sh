#!/usr/bin/env bash
# Runs chaos with many seeds, and continues where it was interrupted. Each run appends one line to a file of results:
#   commit, nodes, seconds, rate, options, seed, exit status, and the run's own last line (JSON).
# What has its line already, for this very commit, is not run again. Exit status: 0 if every run was clean.
#   scripts/campaign.sh 1 10                                seeds 1 to 10 with 3 nodes
#   scripts/campaign.sh 1 10 --nodes 5 --with all           with 5 nodes and all trials
#   scripts/campaign.sh 1 10 --nodes 5 --with all --left    only prints what is left
# RESULTS names another file than build/campaign.tsv; BIN another folder than build/bin.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 2 ]; then
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
from=$1 to=$2
shift 2
nodes=3 seconds=180 rate=400 with='' left_only=''
while [ $# -gt 0 ]; do
  case $1 in
  --nodes) nodes=$2 && shift 2 ;;
  --seconds) seconds=$2 && shift 2 ;;
  --rate) rate=$2 && shift 2 ;;
  --with) with=$2 && shift 2 ;;
  --left) left_only=1 && shift ;;
  *) echo "campaign: $1 is none of --nodes, --seconds, --rate, --with, --left" >&2 && exit 2 ;;
  esac
done
results=${RESULTS:-build/campaign.tsv} bin=${BIN:-build/bin}
mkdir -p "$(dirname "$results")"
touch "$results"
commit=$(git describe --always --dirty)
key() { printf '%s\t%s\t%s\t%s\t%s\t%s\t' "$commit" "$nodes" "$seconds" "$rate" "${with:--}" "$1"; }

left=()
for seed in $(seq "$from" "$to"); do
  grep -qF -- "$(key "$seed")" "$results" || left+=("$seed")
done
echo "campaign: left: ${left[*]:-nothing}"
[ -z "$left_only" ] || exit 0
for seed in ${left[@]+"${left[@]}"}; do
  echo "campaign: seed $seed"
  status=0
  line=$("$bin/parley-chaos" --nodes "$nodes" --seconds "$seconds" --rate "$rate" --seed "$seed" \
    ${with:+--with "$with"} --json) || status=$?
  printf '%s%s\t%s\n' "$(key "$seed")" "$status" "$(tail -n 1 <<<"$line")" >>"$results"
done

failed=()
for seed in $(seq "$from" "$to"); do
  grep -qF -- "$(key "$seed")0	" "$results" || failed+=("$seed")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "campaign: not clean: ${failed[*]} (see $results)" >&2
  exit 1
fi
echo "campaign: seeds $from to $to are clean"
