#!/usr/bin/env python3
"""What the planner predicts of a cluster of unequal machines, and what it then reaches.

    sudo bench/planning/planning.py --potluck build/release/bin/potluck \\
        --netshape build/release/bin/netshape --model F.gguf

Workers of unequal speed (`--paces`), each in a network namespace of its own, are served once with
the planner's cut of the layers and once with the cut that memory would give; for each the predicted
and the measured tokens a second are printed, and what the better cut gained. README.md says more.
Exit code: 0 measured, 1 it could not be tried.
"""
import argparse
import http.client
import json
import os
import random
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "serve"), str(HERE.parent / "faults")]

import client  # noqa: E402
import home  # noqa: E402
import network  # noqa: E402
from client import Request  # noqa: E402

LOW_IDS, HIGH_IDS = 300, 1000
# What the coordinator predicts of: a user behind so many tokens, a prompt of so many.
DEPTH, PROMPT = 128, 512
NEAR = 0.15  # a prediction so far off is a good one


@dataclass
class Speed:
    decode: float
    prompt: float


@dataclass
class Outcome:
    cut: str
    predicted: Speed
    client: Speed
    cluster: Speed  # as the coordinator measured it
    corrected: float  # tokens a second of one user, by the first steps of the loaded stages
    parts: list[tuple[str, float, float]]  # of a token's time: what, ms predicted, ms measured


class UnequalHome(home.Home):
    def __init__(self, net: network.Network, o, flags: list[str]):
        self.paces = o.paces.split(",")
        self.more = [*(["--memory", o.memory] if o.memory else []), *(["--isa", o.isa] if o.isa else [])]
        super().__init__(net, o.potluck, o.model, len(self.paces), "", flags)

    def start_worker(self, name: str, more: list[str]):
        self.device = f"cpu:paced={self.paces[self.names.index(name)]}"
        super().start_worker(name, [*self.more, *more])

    def cluster(self) -> dict:
        link = http.client.HTTPConnection("127.0.0.1", home.API, timeout=10)
        link.request("GET", "/v1/cluster")
        return json.loads(link.getresponse().read())

    def stages(self, cluster: dict) -> list[tuple[str, dict]]:
        names = {n["id"]: n["name"] for n in cluster["nodes"]}
        return [(f"{s['end'] - s['begin']} at {self.paces[self.names.index(names[s['node']])]}", s)
                for s in cluster["plan"]["stages"]]

    def cut(self, cluster: dict) -> str:
        return ", ".join(name for name, _ in self.stages(cluster))

    def parts(self, cluster: dict) -> list[tuple[str, float, float]]:
        times = [(name + (" and the head" if s["head"] else ""), s["token_ms"])
                 for name, s in self.stages(cluster)] + [("the way", cluster["plan"]["way_ms"])]
        return [(name, t["predicted"], t["measured"]) for name, t in times]


def ask(prompt: int, tokens: int, dice: random.Random) -> client.Stream:
    ids = [dice.randrange(LOW_IDS, HIGH_IDS) for _ in range(prompt)]
    return client.run([Request(ids, tokens)], home.API).streams[0]


def measure(h: UnequalHome, o) -> Outcome:
    dice = random.Random(o.seed)
    ask(32, 4, dice)  # finds everything cold
    decode, prompt = [], []
    for _ in range(o.runs):
        answer = ask(DEPTH - o.tokens // 2, o.tokens, dice)
        decode.append((len(answer.times) - 1) / (answer.times[-1] - answer.times[0]))
        if o.prompts:
            prompt.append(PROMPT / ask(PROMPT, 1, dice).first())
    told = h.cluster()
    if not told["predicted"]:
        raise client.Failure(f"there is no prediction: {told['planner']}")
    speed = [Speed(told[k]["decode_tps"], told[k]["prefill_tps"]) for k in ("predicted", "measured")]
    return Outcome(h.cut(told), speed[0], Speed(median(decode), median(prompt or [0.0])), speed[1],
                   told["corrected_decode_tps"], h.parts(told))


def even_split(layers: int, stages: int) -> str:
    """As memory has it where all machines have the same."""
    return ",".join(str(layers // stages + (i < layers % stages)) for i in range(stages))


def of(measured: float, predicted: float) -> str:
    if not predicted:
        return f"{measured:7.2f} (not foretold)"
    return f"{measured:7.2f} ({measured / predicted - 1:+.0%})"


def report(rows: list[Outcome]):
    print(f"{'layers':34} {'one user: predicted':>20} {'by the client':>16} {'by the cluster':>16}"
          f" {'prompt of ' + str(PROMPT) + ': predicted':>26} {'by the client':>16} {'by the cluster':>16}")
    for r in rows:
        print(f"{r.cut:34} {r.predicted.decode:20.2f} {of(r.client.decode, r.predicted.decode):>16}"
              f" {of(r.cluster.decode, r.predicted.decode):>16} {r.predicted.prompt:26.1f}"
              f" {of(r.client.prompt, r.predicted.prompt):>16}"
              f" {of(r.cluster.prompt, r.predicted.prompt):>16}", flush=True)
        print("    a token: " + "; ".join(f"{what} {predicted:.1f} ms predicted, {measured:.1f} measured"
                                          f" ({measured / predicted - 1:+.0%})"
                                          for what, predicted, measured in r.parts)
              + f"; by the first steps {r.corrected:.2f} tokens a second, by the client"
              f" {of(r.client.decode, r.corrected)}", flush=True)


def pair(net: network.Network, o, flags: list[str], names: list[str]) -> list[Outcome]:
    """The planner's cut and the even one, each from a fresh start."""
    rows = []
    for split in ([], ["--split", even_split(o.layers, len(names) - 1)]):
        with tempfile.TemporaryDirectory(prefix="potluck-planning-") as cache:
            os.environ["XDG_CACHE_HOME"] = cache  # devices are measured now
            with UnequalHome(net, o, [*flags, *split]) as h:
                rows.append(measure(h, o))
    report(rows)
    best, even = rows
    for what in ("decode", "prompt") if o.prompts else ("decode",):
        predicted = getattr(best.predicted, what) / getattr(even.predicted, what)
        measured = getattr(best.client, what) / getattr(even.client, what)
        print(f"{what}: the planner's cut is {measured:.2f} times as fast as that by memory, "
              f"{predicted:.2f} predicted", flush=True)
    return rows


def spread(pairs: list[list[Outcome]]):
    """How far one user's tokens were from what was predicted, over several starts."""
    for what, outcomes in zip(("the planner's cut", "the cut by memory"), zip(*pairs)):
        for by, expected in (("probes", [r.predicted.decode for r in outcomes]),
                             ("first steps", [r.corrected for r in outcomes])):
            off = sorted(r.client.decode / e - 1 for r, e in zip(outcomes, expected) if e)
            if not off:
                continue
            near = sum(abs(e) <= NEAR for e in off)
            print(f"one user, {what}, predicted by {by}, {len(off)} starts: {off[0]:+.0%} to "
                  f"{off[-1]:+.0%}, median {median(off):+.0%}; {near} within {NEAR:.0%}", flush=True)


def trial(o, rate: str, rtt: str):
    names = ["c", *(f"w{i}" for i in range(len(o.paces.split(","))))]
    flags = ["--context", str(o.context), "--slots", str(o.slots), "--use-all", "--speculation", "off",
             *o.flags.split()]
    with network.Network(o.netshape, names, rate, rtt, o.mtu) as net:
        with InNamespace(net.namespace("c")):
            there_and_back, bits = net.measure("c", "w0")
            print(f"{rate}, {rtt}: measured over TCP {there_and_back * 1e3:.2f} ms there and back, "
                  f"{bits / 1e6:.0f} Mbit/s; load {os.getloadavg()[0]:.1f}", flush=True)
            pairs = [pair(net, o, flags, names) for _ in range(o.starts)]
    if o.starts > 1:
        spread(pairs)


class InNamespace:
    """This thread, and what it starts, while it is open."""

    def __init__(self, namespace: str):
        self.namespace = namespace

    def __enter__(self):
        self.before = open("/proc/thread-self/ns/net", "rb")
        network.enter(self.namespace)

    def __exit__(self, *_):
        with self.before:
            network.enter_open(self.before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potluck", required=True)
    parser.add_argument("--netshape", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--layers", type=int, default=28, help="of the model, for the even cut")
    parser.add_argument("--paces", default="x3,x6,x12", help="one for each worker")
    parser.add_argument("--memory", default="800MiB", help="of each worker, so that none holds all")
    parser.add_argument("--isa", default="", help="instruction set of all workers")
    parser.add_argument("--links", default="1gbit/0.3ms,100mbit/5ms", help="RATE/RTT, several with commas")
    parser.add_argument("--mtu", type=int, default=1500)
    parser.add_argument("--context", type=int, default=640)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=24, help="made behind about 128, in each run")
    parser.add_argument("--runs", type=int, default=2, help="medians are of so many")
    parser.add_argument("--starts", type=int, default=1, help="of each cut, everything measured anew")
    parser.add_argument("--no-prompts", dest="prompts", action="store_false", help="one user's tokens only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flags", default="", help="more for `potluck coordinator`")
    o = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything is closed
    try:
        for link in o.links.split(","):
            trial(o, *link.split("/"))
    except (network.Failure, client.Failure, OSError) as e:
        print(f"planning: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
