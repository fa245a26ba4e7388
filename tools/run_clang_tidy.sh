#!/usr/bin/env bash
# clang-tidy with the list of .clang-tidy. Needs a configured and built preset "ci" (for the compile
# commands and the generated headers).
#
#   tools/run_clang_tidy.sh              every .cpp file of ours
#   tools/run_clang_tidy.sh --changed    those that differ from the branch "main" or are new
#   tools/run_clang_tidy.sh FILE...      these
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${POTLUCK_BUILD:-build/ci}
if [[ ! -f $build/compile_commands.json ]]; then
    echo "$build is not configured: cmake --preset ci && cmake --build --preset ci" >&2
    exit 1
fi
if [[ ${1:-} == --changed ]]; then
    mapfile -t files < <({
        git diff --name-only --diff-filter=d main -- '*.cpp'
        git ls-files --others --exclude-standard '*.cpp'
    } | sort -u)
elif (($# > 0)); then
    files=("$@")
else
    mapfile -d '' files < <(python3 tools/repo_files.py cpp | tr '\0' '\n' | grep '\.cpp$' | tr '\n' '\0')
fi

# Only what the build compiles; fuzz targets, for one, belong to another preset.
known=()
for file in "${files[@]}"; do
    if grep --quiet --fixed-strings "\"file\": \"$PWD/$file\"" "$build/compile_commands.json"; then
        known+=("$file")
    fi
done
echo "clang-tidy: ${#known[@]} of ${#files[@]} files"
((${#known[@]} == 0)) && exit 0
printf '%s\0' "${known[@]}" |
    xargs --null --max-args=1 --max-procs="$(nproc)" clang-tidy -p "$build" --quiet \
        --extra-arg=-Wno-unknown-warning-option 2> >(grep -v ' warnings\? generated\.$' >&2 || true)
