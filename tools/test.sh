#!/usr/bin/env bash
# Everything that has to hold before a change is merged: about three quarters of an hour on two cores
# the first time, of which tests and fuzzers take a quarter of an hour however warm ccache is. Stops at
# the first phase that fails and says how to repeat it.
#
#   tools/test.sh                 all phases but tidy
#   tools/test.sh --quick         packages, build, tests
#   tools/test.sh --only asan     one phase (more with commas); the phases are listed below
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

all_phases=(packages build tests asan fuzz tidy demo)
# tidy is asked for by name: not every file is clean under it yet.
phases=(packages build tests asan fuzz demo)
case "${1:-}" in
    "") ;;
    --quick) phases=(packages build tests) ;;
    --only) IFS=, read -r -a phases <<<"${2:?which phase?}" ;;
    *) echo "usage: $0 [--quick | --only PHASE,...]  phases: ${all_phases[*]}" >&2; exit 2 ;;
esac
jobs=$(nproc)

# Another clone's objects are as good as ours.
export CCACHE_DIR=${CCACHE_DIR:-${HOME:-$PWD/build}/.cache/ccache} CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

n_tests=0 n_failed=0
run_ctest() {  # PRESET ARGUMENTS...
    local preset=$1 log status=0 result
    shift
    log=build/$preset/ctest.log
    ctest --preset "$preset" -j "$jobs" --no-tests=error "$@" | tee "$log" || status=$?
    result=$(sed -n 's/.*, \([0-9]*\) tests\? failed out of \([0-9]*\)$/\1 \2/p' "$log")
    result=${result:-0 0}
    n_failed=$((n_failed + ${result% *}))
    n_tests=$((n_tests + ${result#* }))
    return "$status"
}

phase_packages() {
    tools/install_packages.sh --dev
}

phase_build() {  # optimised, warnings are errors
    cmake --preset ci
    cmake --build --preset ci -j "$jobs"
}

phase_tests() {  # all labels: repo, unit, conformance, golden, sim, integration, and the link tests
    run_ctest ci
}

phase_asan() {  # the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
    cmake --preset asan
    cmake --build --preset asan -j "$jobs" --target unit_tests
    run_ctest asan -L unit
}

phase_fuzz() {
    tools/run_fuzz.sh --seconds "${POTLUCK_FUZZ_SECONDS:-60}" gguf frame stream control
}

phase_tidy() {
    tools/run_clang_tidy.sh
}

phase_demo() {  # what the README promises first, with the program that was just built
    tools/quickstart.sh --program build/ci/bin/potluck
}

current=""
summary=()
finish() {
    local status=$?
    printf '\n'
    ((${#summary[@]} == 0)) || printf '%s\n' "${summary[@]}"
    if [[ $status -ne 0 && -n $current ]]; then
        printf '%-10s FAILED after %4d s. Again: tools/test.sh --only %s\n' \
            "$current" $((SECONDS - started)) "$current"
        [[ $current == tests ]] && echo "Only what failed: ctest --preset ci --rerun-failed"
        [[ $current == asan ]] && echo "Only what failed: ctest --preset asan --rerun-failed"
    fi
    printf '%d of %d phases passed\n' "${#summary[@]}" "${#phases[@]}"
    ((n_tests == 0)) || printf '\n%d%% tests passed, %d tests failed out of %d\n' \
        $(((n_tests - n_failed) * 100 / n_tests)) "$n_failed" "$n_tests"
    printf '\nTotal time (real) = %d sec\n' "$SECONDS"
    exit "$status"
}
for phase in "${phases[@]}"; do
    if ! declare -F "phase_$phase" >/dev/null; then
        echo "no phase $phase; there are: ${all_phases[*]}" >&2
        exit 2
    fi
done
trap finish EXIT
for phase in "${phases[@]}"; do
    current=$phase
    started=$SECONDS
    printf '\n=== %s\n' "$phase"
    "phase_$phase"
    summary+=("$(printf '%-10s passed after %4d s' "$phase" $((SECONDS - started)))")
    echo "--- ${summary[-1]}"
done
current=""
