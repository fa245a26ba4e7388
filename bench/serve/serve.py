#!/usr/bin/env python3
"""How well a cluster serves: real processes on this machine, in turn, as ratios with verdicts.

    serve.py --potluck build/release/bin/potluck --model F.gguf                 all but the peer
    serve.py --potluck ... --model F.gguf --suites decode --clients 1,8         some of it
    serve.py --potluck ... --model F.gguf --suites peer                         beside llama.cpp

Prints a Markdown table as soon as a suite is through; with --lines one object a figure, with --json
one for all. Exit code 1: something could not be measured; 3: everything could, and a target was
missed. README.md says what each figure is.
"""
import argparse
import json
import resource
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import figures  # noqa: E402
from client import Failure  # noqa: E402
from cores import kept_to  # noqa: E402
from servers import processes  # noqa: E402
from suites import SUITES, Bench  # noqa: E402

QUIET_CORES = 0.25  # more other work than this and the figures say little
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
    parser.add_argument("--stages", type=lambda text: [int(n) for n in text.split(",")], default=[3, 4],
                        help="paced workers in a row, e.g. 3,4")
    parser.add_argument("--pin", action="store_true",
                        help="each server on cores of its own, each of its threads that compute on one")
    parser.add_argument("--flags", type=str.split, default=[], help="more flags of `potluck up`, in one word")
    parser.add_argument("--node", default="node", help="Node 20 or later, for the peer")
    parser.add_argument("--seed", type=int, default=1, help="of the prompts")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one object at the end, with every round")
    form.add_argument("--lines", action="store_true", help="one small object a figure, a line each")
    options = parser.parse_args(arguments)
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    return options


def note(text: str):
    print(text, file=sys.stderr, flush=True)


def own_seconds() -> float:
    """Processor time of this program and of all that it started and that has ended."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def measure(options, tell) -> tuple[dict, dict, list, float]:
    """The figures of each suite, told as soon as they are there; how many cores others kept busy
    meanwhile; which suites failed; and how much of a core the clients took at most."""
    bench, results, others, failed = Bench(options, note), {}, {}, []
    with kept_to(bench.cores.clients if bench.cores else None):
        for name in options.suites:
            foreign, before = processes.ForeignWork(), own_seconds()

            def suite(name=name, before=before):  # its servers have ended when it returns
                return SUITES[name](bench), own_seconds() - before

            try:
                results[name] = foreign.measure(suite)
            except (Failure, processes.Failure, OSError, ValueError) as error:
                note(f"serve.py: {name}: {error}")
                failed.append(name)
                continue
            others[name] = foreign.cores()
            tell(name, results[name])
    return results, others, failed, bench.client_cores


def other_work(others: dict) -> str:
    said = ", ".join(f"{name} " + ("not known" if cores is None else f"{cores:.2f}")
                     for name, cores in others.items())
    loud = any(cores is not None and cores > QUIET_CORES for cores in others.values())
    return (f"Other work on the machine, in cores: {said}."
            + (" NOT QUIET: these figures are of a disturbed machine." if loud else ""))


def tell_suite(options, name: str, of_suite: list):
    if options.lines:
        print(figures.lines(name, of_suite), flush=True)
    elif not options.json:
        print(f"{name}\n\n{figures.table(of_suite)}\n", flush=True)


def show(options, results: dict, others: dict, failed: list, client_cores: float) -> int:
    """Prints what is known at the end; how many targets were missed."""
    everything = [f for of_suite in results.values() for f in of_suite]
    missed = sum(f.verdict() == "FAIL" for f in everything)
    targets = sum(f.target is not None for f in everything)
    if options.json:
        print(json.dumps({"model": options.model.name, "rounds": options.rounds,
                          "client_cores": client_cores, "foreign_cores": others, "failed": failed,
                          "missed": missed, "targets": targets,
                          "suites": {name: figures.plain(f) for name, f in results.items()}}))
    else:
        print(f"{targets - missed} of {targets} targets met, {options.rounds} rounds. "
              f"The clients took at most {client_cores:.3f} of a core.\n{other_work(others)}")
    if client_cores > CLIENT_CORES:
        note(f"serve.py: the clients took {client_cores:.2f} cores: these figures are too low")
    return missed


def main() -> int:
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception: children are ended
    measured = measure(options, lambda name, of_suite: tell_suite(options, name, of_suite))
    missed = show(options, *measured)
    return 1 if measured[2] else 3 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
