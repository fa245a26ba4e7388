#!/usr/bin/env bash
# Builds the fuzz programs (preset "fuzz", clang) and runs each for a while, two at a time, from its
# corpus in tests/fuzz/corpus/<name>. New inputs go to build/fuzz/corpus/<name>, failures to
# build/fuzz/failures/.
#
#   tools/run_fuzz.sh [--seconds 60] [NAME...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=60
if [[ ${1:-} == --seconds ]]; then
    seconds=$2
    shift 2
fi
cmake --preset fuzz
cmake --build --preset fuzz --target fuzz_targets
names=("$@")
if ((${#names[@]} == 0)); then
    mapfile -t names < <(sed -n 's/^ *potluck_fuzz(\(\w\+\).*/\1/p' tests/fuzz/CMakeLists.txt)
fi
if ((${#names[@]} == 0)); then
    echo "tests/fuzz/CMakeLists.txt names no fuzz program" >&2
    exit 1
fi

fuzz() {
    local name=$1 seconds=$2 out=build/fuzz executed
    local log=$out/logs/$name.log corpus=$out/corpus/$name seeds=tests/fuzz/corpus/$name
    local dictionary=tests/fuzz/$name.dict
    mkdir -p "$corpus" "$out/logs" "$out/failures"
    local arguments=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
        -artifact_prefix="$out/failures/$name-")
    [[ -f $dictionary ]] && arguments+=("-dict=$dictionary")
    if [[ ! -d $seeds ]]; then
        echo "$name: no corpus in $seeds" >&2
        return 1
    fi
    if "$out/bin/fuzz_$name" "${arguments[@]}" "$corpus" "$seeds" >"$log" 2>&1; then
        executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "$name: $executed inputs in $seconds s, no failure"
    else
        tail -n 60 "$log"
        echo "$name FAILED. Again: $out/bin/fuzz_$name $out/failures/$name-<file of the failure>" >&2
        return 1
    fi
}
export -f fuzz
# shellcheck disable=SC2016  # the inner shell expands its own arguments
printf '%s\0' "${names[@]}" |
    xargs --null --max-procs=2 -I{} bash -c 'fuzz "$1" "$2"' fuzz {} "$seconds"
