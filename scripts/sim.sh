#!/usr/bin/env bash
# Simulates whole nodes (tests/sim), one run for each seed from FROM to TO, and goes on where it was interrupted:
# each seed that has ended has its line in a file of results, which belongs to one build of the program.
#
#   scripts/sim.sh FROM TO [options]    for example: scripts/sim.sh 1 1000 --jobs 2 --keep-going
#   scripts/sim.sh --trace SEED         that seed alone, event by event
#   scripts/sim.sh --shrink SEED        the least that fails as that seed does, and how to show it again
#
#   --jobs N        so many processes at a time; 1 by default
#   --keep-going    does not stop at the first seed that fails
#   --plant NAME    with a planted bug
#   --left          only prints what is left
#   --help          prints this
# All other options go to node_sim as they are (build/bin/node_sim --help). RESULTS names another file of results.
# Exit status: 0 if all seeds were clean, also those of before.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,16s/^# \{0,1\}//p' "$0"; }

from='' to='' program=node_sim plant='' whole=yes more=()
refuse() { echo "sim: $1 (scripts/sim.sh --help)" >&2 && exit 2; }
need() { { [ $# -gt 1 ] && [ "${2#--}" = "$2" ]; } || refuse "$1 needs a value"; }
while [ $# -gt 0 ]; do
  case $1 in
  --help | -h) usage && exit 0 ;;
  --trace) need "$@" && from=$2 to=$2 whole='' more+=(--trace) && shift 2 ;;
  --shrink) need "$@" && from=$2 to=$2 whole='' more+=(--shrink "$2") && shift 2 ;;
  --plant) need "$@" && plant=$2 program=node_sim_planted more+=(--plant "$2") && shift 2 ;;
  --jobs) need "$@" && jobs=(--jobs "$2") && shift 2 ;;
  --left) left=(--left) && shift ;;
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
[ -n "$from" ] || { usage >&2 && exit 2; }
[ -n "$to" ] || refuse "the last seed is missing behind $from"
for seed in "$from" "$to"; do
  [[ $seed =~ ^[0-9]+$ ]] || refuse "\"$seed\" is no seed; seeds come before options that have values"
done
[ "$from" -le "$to" ] || refuse "there are no seeds from $from to $to"
[ -n "$whole" ] || [ -z "${jobs[*]-}${left[*]-}" ] || refuse "--jobs and --left go with a range of seeds"
[ -f build/build.ninja ] || cmake -S . -B build -G Ninja
cmake --build build --target "$program"
bin=build/bin/$program
if [ -z "$whole" ]; then
  exec "$bin" --from "$from" --to "$to" "${more[@]}"
fi
# Another program, or other options, make other runs of the same seeds.
build=$({ cat "$bin" && printf ' %s' ${more[@]+"${more[@]}"}; } | sha256sum | cut -c1-12)
results=${RESULTS:-build/sim/${plant:+$plant-}$build.tsv}
mkdir -p "$(dirname "$results")"
status=0
trap 'trap - INT; "$bin" --from "$from" --to "$to" --results "$results" --left; exit 130' INT
"$bin" --from "$from" --to "$to" --results "$results" ${jobs[@]+"${jobs[@]}"} ${left[@]+"${left[@]}"} \
  ${more[@]+"${more[@]}"} || status=$?
echo "sim: the results are in $results"
exit "$status"
