#!/usr/bin/env bash
# Runs shellcheck on every bash script of the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mapfile -d '' scripts < <(python3 tools/repo_files.py bash)
shellcheck --external-sources "${scripts[@]}"
echo "${#scripts[@]} scripts"
