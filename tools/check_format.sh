#!/usr/bin/env bash
# Fails if a C++ file differs from what clang-format 14 makes of it. `--fix` writes the files instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! clang-format --version | grep -q 'version 14\.'; then
    echo "clang-format 14 is the version that decides; here is: $(clang-format --version)" >&2
    exit 1
fi
arguments=(--dry-run -Werror)
[[ ${1:-} == --fix ]] && arguments=(-i)
python3 tools/repo_files.py cpp |
    xargs --null --no-run-if-empty --max-args=20 --max-procs=2 clang-format "${arguments[@]}"
