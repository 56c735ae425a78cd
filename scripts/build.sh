#!/usr/bin/env bash
# Configures a build folder, builds in it, and shows how far it is.
#
#   scripts/build.sh DIR [-DNAME=VALUE]… [TARGET]…        no target: all of them
#
# A terminal gets one line that is rewritten, with the time that is probably left; a pipe or a file gets a line for every
# tenth. The compilers' whole output is in DIR/build.log; warnings, and whatever failed, are shown as well.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
dir=$1
shift
settings=() targets=()
for word; do
  case $word in
    -D*) settings+=("$word") ;;
    *) targets+=("$word") ;;
  esac
done

mkdir -p "$dir"
log=$dir/build.log
rewrite=
[ ! -t 1 ] || rewrite=1
tell() { if [ -n "$rewrite" ]; then printf '\r\033[K%s' "$1"; else printf '%s\n' "$1"; fi; }

tell "building in $dir (log: $log)"
cmake -S . -B "$dir" -G Ninja "${settings[@]}" >"$log" 2>&1 || { tell ""; cat "$log"; exit 1; }

# Reads ninja's output: "[done/all] what it does", and between those lines what the compilers say.
progress() {
  local line done=0 all left tenth=0 start=$SECONDS failed=
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$log"
    if [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]]; then
      done=${BASH_REMATCH[1]} all=${BASH_REMATCH[2]}
      left=$(((SECONDS - start) * (all - done) / done))
      if [ -n "$rewrite" ]; then
        [ $((SECONDS - start)) -lt 3 ] && tell "[$done/$all]" || tell "[$done/$all] about $left s left"
      elif [ $((done * 10 / all)) -gt $tenth ]; then
        tenth=$((done * 10 / all))
        tell "[$done/$all] $((done * 100 / all)) %, $((SECONDS - start)) s"
      fi
    elif [[ $line != "ninja: no work"* && $line != "ninja: Entering"* ]]; then
      [ -z "$rewrite" ] || printf '\r\033[K'
      # The command that failed fills a screen and helps nobody; it is in the log.
      if [ -n "$failed" ]; then failed=; else printf '%s\n' "$line"; fi
      [[ $line != FAILED:* ]] || failed=1
    fi
  done
  [ -z "$rewrite" ] || { tell ""; [ "$done" = 0 ] || printf '%s steps in %s s\n' "$done" $((SECONDS - start)); }
}
NINJA_STATUS='[%f/%t] ' ninja -C "$dir" -j "${PARLEY_JOBS:-2}" "${targets[@]}" 2>&1 | progress ||
  { echo "the build in $dir failed; its whole output: $log"; exit 1; }
