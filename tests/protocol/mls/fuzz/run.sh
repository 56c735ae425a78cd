#!/usr/bin/env bash
# run.sh PROGRAM TARGET: runs one fuzzer for MLS_FUZZ_SECONDS (10) on the corpus MLS_FUZZ_CORPUS/TARGET, with
# the seed MLS_FUZZ_SEED (0: a different one each time). Beside the program's folder it writes found/TARGET
# (inputs that break something) and logs/TARGET.log. Prints one line, or the finding.
set -euo pipefail
program=$1
target=$2
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$(dirname "$program")/.." && pwd)
corpus=${MLS_FUZZ_CORPUS:-$build/corpus}
log=$build/logs/$target.log
mkdir -p "$build/logs" "$build/found/$target"
[ -d "$corpus/$target" ] || "$build/bin/mls_fuzz_seeds" "$here/../vectors" "$corpus" "$target"
# Prints names in stack traces even if the compiler's symbolizer is not installed.
export ASAN_OPTIONS=allow_addr2line=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}
known=()
[ ! -d "$here/found/$target" ] || known=("$here/found/$target")

# Inputs have a few kilobytes. If one costs more time or memory than this, the cost is not
# bounded by its size.
if nice -n 5 "$program" -max_total_time="${MLS_FUZZ_SECONDS:-10}" -timeout=30 -seed="${MLS_FUZZ_SEED:-0}" -malloc_limit_mb=128 -rss_limit_mb=1500 \
  -max_len=8192 -use_value_profile=1 -print_final_stats=1 -artifact_prefix="$build/found/$target/" \
  "$corpus/$target" "${known[@]}" >"$log" 2>&1; then
  awk -v t="$target" '/ cov: / {for (i = 1; i < NF; ++i) {if ($i == "cov:") cov = $(i + 1); if ($i == "ft:") ft = $(i + 1)}}
    /number_of_executed_units/ {runs = $2} /average_exec_per_sec/ {rate = $2} /slowest_unit_time_sec/ {slow = $2}
    END {printf "mls_fuzz %-10s %8d runs (%d/s), %d edges, %d features, slowest %d s\n", t, runs, rate, cov, ft, slow}' "$log"
else
  grep -v -E '^#[0-9]+' "$log" | tail -60
  echo "mls_fuzz $target: broken by $(sed -n 's/.*Test unit written to //p' "$log" | tail -1)"
  exit 1
fi
