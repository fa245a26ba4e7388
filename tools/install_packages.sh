#!/usr/bin/env bash
# Installs what Potluck needs from Debian 12: the one list of packages. Does nothing, in a moment, when
# all of them are there. Needs root, or sudo.
#
#   tools/install_packages.sh          to build and run
#   tools/install_packages.sh --dev    and to test
set -euo pipefail

packages=(
    g++ cmake ninja-build ccache
    libboost1.81-dev libboost-json1.81-dev
    libssl-dev
    protobuf-compiler libprotobuf-dev
    libspdlog-dev libfmt-dev
    libcli11-dev
    libexpected-dev
    libyaml-cpp-dev
    libsqlite3-dev
    curl  # tools/quickstart.sh speaks to the cluster with it
)
dev_packages=(
    git python3 python3-jinja2               # the checks of tools/
    clang libclang-rt-14-dev llvm            # fuzzing, and names in the sanitizers' reports
    clang-format clang-tidy shellcheck
    libgtest-dev libgmock-dev
)

case "${1:-}" in
    "") ;;
    --dev) packages+=("${dev_packages[@]}") ;;
    --list) printf '%s\n' "${packages[@]}" "${dev_packages[@]}"; exit 0 ;;
    *) echo "usage: $0 [--dev | --list]" >&2; exit 2 ;;
esac

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    echo "All ${#packages[@]} packages are there."
    exit 0
fi

as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "These packages are missing, and installing them needs root: ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "Installing ${#missing[@]} packages: ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet)
"${apt[@]}" update
"${apt[@]}" install --yes --no-install-recommends "${missing[@]}"
