#!/usr/bin/env python3
"""How well a cluster serves: real processes on this machine, in turn, as ratios with verdicts.

    serve.py --potluck build/release/bin/potluck --model F.gguf                 all but the peer
    serve.py --potluck ... --model F.gguf --suites decode --clients 1,8         some of it
    serve.py --potluck ... --model F.gguf --suites peer                         beside llama.cpp

Prints a Markdown table, or one JSON object with --json. Exit code 1: something could not be
measured; 3: everything could, and a target was missed. README.md says what each figure is.
"""
import argparse
import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import figures  # noqa: E402
from client import Failure  # noqa: E402
from servers import processes  # noqa: E402
from suites import SUITES, Bench  # noqa: E402

CLIENT_CORES = 0.1  # more of a core than this and the clients disturb what they measure


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potluck", default="potluck", help="the program (default: from the PATH)")
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument("--paced-model", type=Path,
                        help="for paced workers: a small one (default: the bundled)")
    parser.add_argument("--suites", type=lambda text: text.split(","),
                        default=[name for name in SUITES if name != "peer"], help=",".join(SUITES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=lambda text: [int(n) for n in text.split(",")],
                        default=[1, 4, 8, 32], help="who decode at once, e.g. 1,8")
    parser.add_argument("--flags", type=str.split, default=[], help="more flags of `potluck up`, in one word")
    parser.add_argument("--node", default="node", help="Node 20 or later, for the peer")
    parser.add_argument("--seed", type=int, default=1, help="of the prompts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    return options


def note(text: str):
    print(text, file=sys.stderr, flush=True)


def measure(options) -> tuple[dict, float]:
    """The figures of each suite, and how much of a core the clients took at most."""
    bench, results = Bench(options, note), {}
    for name in options.suites:
        results[name] = SUITES[name](bench)
    return results, bench.client_cores


def show(options, results: dict, client_cores: float):
    everything = [f for of_suite in results.values() for f in of_suite]
    missed = sum(f.verdict() == "FAIL" for f in everything)
    targets = sum(f.target is not None for f in everything)
    if options.json:
        print(json.dumps({"model": options.model.name, "rounds": options.rounds,
                          "client_cores": client_cores, "missed": missed, "targets": targets,
                          "suites": {name: figures.plain(f) for name, f in results.items()}}))
    else:
        for name, of_suite in results.items():
            print(f"{name}\n\n{figures.table(of_suite)}\n")
        print(f"{targets - missed} of {targets} targets met, {options.rounds} rounds. "
              f"The clients took at most {client_cores:.3f} of a core.")
    if client_cores > CLIENT_CORES:
        note(f"serve.py: the clients took {client_cores:.2f} cores: these figures are too low")
    return missed


def main() -> int:
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception: children are ended
    try:
        results, client_cores = measure(options)
    except (Failure, processes.Failure, OSError, ValueError) as error:
        note(f"serve.py: {error}")
        return 1
    return 3 if show(options, results, client_cores) else 0


if __name__ == "__main__":
    sys.exit(main())
