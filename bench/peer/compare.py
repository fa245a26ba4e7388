#!/usr/bin/env python3
"""Potluck beside llama.cpp (npm's node-llama-cpp): the same files, threads and tokens, in turn.

    compare.py --potluck build/release/bin/potluck --threads 2,1 FILE...   speed
    compare.py --native PATH/llama-bench [--native-flags="-rtr 1"] ... FILE...   beside a built llama.cpp
    compare.py --neighbour ... FILE...    decoding beside a busy loop, as a share of quiet decoding
    compare.py --memory ... FILE...       peak resident memory with a full context

Prints a Markdown table, or one JSON object with --json. README.md says what is and is not fair.
"""
import argparse
import json
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import figures
from processes import BusyLoop, Failure, ForeignWork, NativePeer, Peer, peak_bytes, printed_json

PAST = 16  # tokens before the first that is made, in both programs


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="GGUF files")
    parser.add_argument("--potluck", default="potluck", help="the program (default: from the PATH)")
    parser.add_argument("--node", default="node", help="Node 20 or later")
    parser.add_argument("--threads", type=numbers, default=[2], help="e.g. 2,1")
    parser.add_argument("--runs", type=int, default=5, help="rounds that count")
    parser.add_argument("--quiet", type=float, default=0.25, metavar="CORES",
                        help="a round with more other work than this is taken again; as many again at most")
    parser.add_argument("--pp", type=int, default=512, help="tokens of a prompt; 0: leave it out")
    parser.add_argument("--tg", type=int, default=64, help="tokens to make; 0: leave it out")
    parser.add_argument("--rows", type=numbers, default=[1, 8, 16], help="rows of a step")
    parser.add_argument("--context", type=int, default=2048, help="positions, with --memory")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--native", metavar="PROGRAM", help="a llama-bench that is the peer instead")
    parser.add_argument("--native-flags", default="", metavar="FLAGS", help="more flags for it, in one word")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--neighbour", action="store_true")
    mode.add_argument("--memory", action="store_true")
    options = parser.parse_args(arguments)
    if options.native and (options.memory or options.neighbour):
        parser.error("--native compares speed only")
    return options


def note(text: str):
    print(text, file=sys.stderr, flush=True)


def bench_command(o, file: Path, threads: int, *, pp: int, tg: int, rows: list[int],
                  limits=False) -> list[str]:
    command = [o.potluck, "bench", "--model", str(file), "--threads", str(threads), "--pp", str(pp),
               "--tg", str(tg), "--rows", ",".join(map(str, rows)), "--runs", "1", "--json"]
    return command if limits else [*command, "--no-limits"]


def run_potluck(command: list[str]):
    said, usage = printed_json(command)
    return said, usage.ru_utime + usage.ru_stime


def ask_all(peer: Peer | NativePeer, commands: list[tuple[str, int]]):
    """The seconds of each command, and the processor time of all."""
    if isinstance(peer, NativePeer):
        return peer.ask_all(commands)
    before = peer.cpu_seconds()
    seconds = {(op, n): median(peer.ask(op=op, n=n)["seconds"]) for op, n in commands}
    return seconds, peer.cpu_seconds() - before


def in_turn(round_number: int, first, second):
    """Both, the other way round in every other round: what drifts with time touches both."""
    order = (first, second) if round_number % 2 == 0 else (second, first)
    for work in order:
        work()


def speed_round(o, file: Path, threads: int, peer: Peer, index: int) -> dict:
    foreign, out = ForeignWork(), {}
    commands = [(op, n) for op, n in (("pp", o.pp), ("tg", o.tg)) if n > 0]
    commands += [(op, n) for n in o.rows for op in ("verify", "step")]
    command = bench_command(o, file, threads, pp=o.pp, tg=o.tg, rows=o.rows)

    def ours():
        out["potluck"] = foreign.measure(lambda: run_potluck(command))

    def theirs():
        out["peer"] = foreign.measure(lambda: ask_all(peer, commands))

    in_turn(index, ours, theirs)
    out["foreign_cores"] = foreign.cores()
    return out


def neighbour_round(o, file: Path, threads: int, peer: Peer, index: int) -> dict:
    """Both programs decode alone and beside a busy loop. Other work is seen in the quiet half only."""
    foreign, out = ForeignWork(), {"potluck": {}, "peer": {}}
    command = bench_command(o, file, threads, pp=0, tg=o.tg, rows=[1])

    def measure(state, work):
        return foreign.measure(work) if state == "quiet" else work()[0]

    def ours(state):
        out["potluck"][state] = measure(state, lambda: run_potluck(command))[f"tg{o.tg}"]

    def theirs(state):
        out["peer"][state] = o.tg / measure(state, lambda: ask_all(peer, [("tg", o.tg)]))["tg", o.tg]

    for state in ("quiet", "busy"):
        with BusyLoop() if state == "busy" else nullcontext():
            in_turn(index, lambda s=state: ours(s), lambda s=state: theirs(s))
    out["foreign_cores"] = foreign.cores()
    return out


def rounds_of(o, file: Path, threads: int, take) -> tuple[dict, list[dict]]:
    """The rounds that count, and what the peer says about itself."""
    context = max(o.pp, PAST + max([o.tg, *o.rows])) + 1
    with (NativePeer(o.native, o.native_flags.split(), file, threads) if o.native
          else Peer(o.node, file, threads, context)) as peer:
        rounds, quiet = [], 0
        while quiet < o.runs and len(rounds) < 2 * o.runs:
            rounds.append(take(o, file, threads, peer, len(rounds)))
            foreign = rounds[-1]["foreign_cores"]
            quiet += foreign is None or foreign <= o.quiet
            note(f"{file.name}, {threads} threads: round {len(rounds)}, {quiet} of {o.runs} quiet")
        return peer.about, figures.quietest(rounds, o.runs)


def compare_speed(o, file: Path, threads: int) -> dict:
    about, rounds = rounds_of(o, file, threads, speed_round)
    # The machine's limits once, behind the rounds: probes in each would only heat it.
    limits, _ = run_potluck(bench_command(o, file, threads, pp=0, tg=0, rows=[1], limits=True))
    return {"file": file.name, "threads": threads, "peer": about, "limits": limits.get("limits"),
            "rounds": rounds, "figures": figures.speed_figures(rounds, o.pp, o.tg, o.rows)}


def compare_neighbour(o, file: Path, threads: int) -> dict:
    about, rounds = rounds_of(o, file, threads, neighbour_round)
    return {"file": file.name, "threads": threads, "peer": about, "rounds": rounds}


def compare_memory(o, file: Path, threads: int) -> dict:
    """One run of each: a prompt that fills the context, then some tokens in a new sequence."""
    tg = min(16, o.context - PAST)
    _, usage = printed_json(bench_command(o, file, threads, pp=o.context, tg=tg, rows=[1]))
    with Peer(o.node, file, threads, o.context) as peer:
        peer.ask(op="pp", n=o.context)
        peer.ask(op="tg", n=tg)
        peak = peer.ask(op="memory")["peak_rss_bytes"]
        about = peer.about
    return {"file": file.name, "threads": threads, "context": o.context, "file_bytes": file.stat().st_size,
            "potluck": peak_bytes(usage), "peer": peak, "peer_is": about}


def peer_name(o) -> str:
    if o.native:
        return " ".join([Path(o.native).name, *o.native_flags.split()])
    package = json.loads((Path(__file__).resolve().parent / "package.json").read_text(encoding="utf-8"))
    return f"node-llama-cpp {package['dependencies']['node-llama-cpp']}"


def show(o, results: list[dict]):
    if o.json:
        print(json.dumps({"peer": peer_name(o), "runs": o.runs,
                          "results": [figures.plain(result) for result in results]}))
        return
    table = (figures.memory_table if o.memory else
             figures.neighbour_table if o.neighbour else figures.speed_table)
    print(table(results))
    if not o.memory:
        print("\n" + figures.other_work(results, o.quiet))
    print(f"\nPeer: {peer_name(o)}.")


def main() -> int:
    o = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception: children are ended
    if o.neighbour:
        o.pp, o.rows = 0, [1]
    compare = compare_memory if o.memory else compare_neighbour if o.neighbour else compare_speed
    try:
        results = [compare(o, file, threads) for file in o.files for threads in o.threads]
    except (Failure, OSError) as error:
        note(f"compare.py: {error}")
        return 1
    show(o, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
