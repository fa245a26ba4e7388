#!/usr/bin/env python3
"""Whether a living machine is ever taken for dead when all have more to do than the processors can.

    calm.py --potluck build/release/bin/potluck [--seconds 600] [--workers 7] [--streams 16]

Starts `potluck up` and keeps so many streams open for so long. No pipeline may end meanwhile: the
epoch of the plan must stay what it was, and every answer must be whole. Exit code 1 if not.
"""
import argparse
import json
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "serve"))

import client  # noqa: E402
from client import Request  # noqa: E402
from servers import Cluster, processes  # noqa: E402


def epoch(cluster: Cluster) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.port}/v1/cluster", timeout=10) as answer:
        return json.load(answer)["epoch"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potluck", required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--workers", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="of each worker")
    parser.add_argument("--streams", type=int, default=16, help="at once")
    parser.add_argument("--tokens", type=int, default=400, help="of each answer")
    o = parser.parse_args()
    arguments = ["--workers", str(o.workers), "--threads", str(o.threads), "--slots", str(o.streams),
                 "--context", str(o.tokens + 64)]
    with Cluster(o.potluck, arguments) as cluster:
        before = epoch(cluster)
        began, used, answers = time.monotonic(), processes.busy_seconds(), 0
        while time.monotonic() - began < o.seconds:
            requests = [Request([300 + (answers + i) % 700, 301 + i], o.tokens) for i in range(o.streams)]
            try:
                cluster.run(requests)
            except client.Failure as failure:
                print(f"calm: after {answers} answers: {failure}\n{cluster.text()[-2000:]}", file=sys.stderr)
                return 1
            answers += o.streams
        took = time.monotonic() - began
        cores = (processes.busy_seconds() - used) / took
        after = epoch(cluster)
        print(f"{o.workers + 1} processes, {o.streams} streams at once, {took:.0f} s, {cores:.2f} cores "
              f"busy: {answers} answers of {o.tokens} tokens, all whole; "
              f"plans made meanwhile: {after - before}")
        if after != before:
            print(cluster.text()[-4000:], file=sys.stderr)
        return int(after != before)


if __name__ == "__main__":
    sys.exit(main())
