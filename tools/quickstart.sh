#!/usr/bin/env bash
# From a fresh clone to an answer: installs the packages, builds, starts a cluster of three workers on
# this machine with the bundled model, asks it something, and stops it.
#
#   tools/quickstart.sh [--program build/release/bin/potluck]   with a program: no packages, no build
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=build/release/bin/potluck
case "${1:-}" in
    "")
        tools/install_packages.sh
        cmake --preset release -DPOTLUCK_TESTS=OFF
        cmake --build --preset release --target potluck
        ;;
    --program) program=${2:?which program?} ;;
    *) echo "usage: $0 [--program PATH]" >&2; exit 2 ;;
esac

is_free() {  # PORT
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
port=8080
until is_free "$port"; do
    port=$((port + 1))
    ((port < 8180)) || { echo "no port from 8080 to 8179 is free" >&2; exit 1; }
done
address=http://127.0.0.1:$port

scratch=$(mktemp --directory)
log=$scratch/potluck.log
cluster=""
stop() {
    local status=$?
    trap - EXIT
    if [[ -n $cluster ]]; then
        kill -TERM "$cluster" 2>/dev/null || true
        local ended=0
        wait "$cluster" || ended=$?
        if ((ended != 0 && ended != 143)); then
            echo "The cluster ended with status $ended." >&2
            ((status != 0)) || status=1
        fi
    fi
    if ((status != 0)); then
        printf '\nIt failed. The log of the cluster (%s):\n' "$log" >&2
        tail -n 60 "$log" >&2
    else
        rm -r "$scratch"
        printf '\nStopped. To keep one running:\n    %s up --workers 3\n' "$program"
    fi
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

printf '\nStarting a coordinator and three workers on %s ...\n' "$address"
"$program" up --workers 3 --port "$port" </dev/null >"$log" 2>&1 &
cluster=$!
for ((tries = 0; ; ++tries)); do
    if ! kill -0 "$cluster" 2>/dev/null; then
        echo "potluck ended before it was ready" >&2
        exit 1
    fi
    status=$(curl --silent --output /dev/null --write-out '%{http_code}' "$address/health" || true)
    [[ $status != 200 ]] || break
    ((tries < 600)) || { echo "not ready after a minute" >&2; exit 1; }
    sleep 0.1
done
sed '/^loading/d; s/^/    /' "$log"  # the workers, the plan, where to send requests

question=$(cat <<'TEXT'
Rename `total` to `result`:
```python
def average(values):
    total = 0
    for value in values:
        total += value
    return total / len(values)
```
TEXT
)
request='{"stream": true, "temperature": 0, "max_tokens": 200,
    "messages": [{"role": "user", "content": "'${question//$'\n'/\\n}'"}]}'
content='"content": ?"(([^"\\]|\\.)*)"'  # of a piece of the answer
answer=$scratch/answer
printf '\nQuestion:\n%s\n\nAnswer, as it comes:\n' "$question"
printf '%s' "$request" |
    curl --silent --show-error --fail-with-body --no-buffer --max-time 120 \
        --header 'Content-Type: application/json' --data @- "$address/v1/chat/completions" |
    while IFS= read -r line || [[ -n $line ]]; do
        if [[ $line == data:* ]]; then
            if [[ $line =~ $content ]]; then printf '%b' "${BASH_REMATCH[1]}" | tee -a "$answer"; fi
        elif [[ -n ${line%$'\r'} ]]; then
            printf '%s\n' "$line" >&2
        fi
    done
printf '\n'
grep --quiet 'result / len(values)' "$answer" || { echo "That is not the right answer." >&2; exit 1; }
