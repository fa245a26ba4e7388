#!/usr/bin/env python3
"""How long Potluck takes until a model's weights are ready, beside a plain read of the file.

    load.py --potluck build/release/bin/potluck [--cold] FILE...

The plain reads are read() by one thread, of the whole file: into one buffer of a mebibyte, again and
again, and into new memory as large as the file, on huge pages, as weights that are kept need it. In
rounds, each of the three first in turn. With --cold the system lets go of the file's pages before each,
so that all read the disk. Prints a Markdown table: medians, and the median of the rounds' ratios with
the least and the most.
"""
import argparse
import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

BUFFER = 1 << 20


def let_go(file: Path):
    """The system's cache forgets the file, as far as nobody else has it mapped."""
    with open(file, "rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_seconds(file: Path, keep: bool) -> float:
    size = file.stat().st_size if keep else BUFFER
    start = time.monotonic()
    with mmap.mmap(-1, size) as memory, open(file, "rb", buffering=0) as opened:
        memory.madvise(mmap.MADV_HUGEPAGE)
        with memoryview(memory) as view:
            at = 0
            while n := opened.readinto(view[at:at + BUFFER]):
                at = at + n if keep and at + n < size else 0
        return time.monotonic() - start


def load_seconds(o, file: Path) -> float:
    command = [o.potluck, "bench", "--model", str(file), "--threads", str(o.threads), "--pp", "0",
               "--tg", "0", "--rows", "1", "--runs", "1", "--no-limits", "--json"]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(said.stdout)["load_ms"] * 1e-3


def measure(o, file: Path) -> str:
    works = {"read": lambda: read_seconds(file, False), "keep": lambda: read_seconds(file, True),
             "load": lambda: load_seconds(o, file)}
    seconds = {name: [] for name in works}
    works["read"]()
    order = list(works)
    for _ in range(o.runs):
        for name in order:
            if o.cold:
                let_go(file)
            seconds[name].append(works[name]())
        order = order[1:] + order[:1]

    def ratio(to: str) -> str:
        all_rounds = [a / b for a, b in zip(seconds["load"], seconds[to], strict=True)]
        return f"{median(all_rounds):.2f} ({min(all_rounds):.2f}..{max(all_rounds):.2f})"

    medians = [f"{median(seconds[name]):.2f}" for name in works]
    return " | ".join([f"| {file.name} | {o.threads} | {'cold' if o.cold else 'warm'}", *medians,
                       ratio("read"), ratio("keep")]) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--potluck", default="potluck", help="the program (default: from the PATH)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    o = parser.parse_args()
    print("| file | threads | cache | read, s | read into new memory, s | load, s | load / read | "
          "load / read into new memory |\n|---|---|---|---|---|---|---|---|")
    for file in o.files:
        print(measure(o, file), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
