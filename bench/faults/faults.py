#!/usr/bin/env python3
"""What clients see when a worker is lost: real processes in network namespaces, on a shaped network.

    sudo bench/faults/faults.py --potluck build/release/bin/potluck --netshape build/release/bin/netshape

Streams run while one worker after another is killed, hung (SIGSTOP) or cut off, at random moments.
Every stream must end with the tokens of an undisturbed run. Reports the gaps that clients saw. Exit
code: 0 all equal, 3 some not, 1 it could not be tried. README.md says more.
"""
import argparse
import json
import random
import re
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "serve"))

import client  # noqa: E402
import home  # noqa: E402
import network  # noqa: E402
from client import Request  # noqa: E402

LOW_IDS, HIGH_IDS = 300, 1000


def kill(h: home.Home, name: str):
    h.workers[name].send(signal.SIGKILL)
    h.workers[name].child.wait()


def hang(h: home.Home, name: str):
    h.workers[name].send(signal.SIGSTOP)


def cut(h: home.Home, name: str):
    h.network.say("down", name)


def mend_kill(h: home.Home, name: str):
    h.start_worker(name, [])


def mend_hang(h: home.Home, name: str):
    h.workers[name].send(signal.SIGCONT)


def mend_cut(h: home.Home, name: str):
    h.network.say("up", name)


FAULTS = {"kill": (kill, mend_kill), "hang": (hang, mend_hang), "cut": (cut, mend_cut)}


def text_of(answer: bytes) -> str:
    """Of all events of a streamed completion."""
    events = re.findall(rb"^data: (\{.*\})\r?$", answer, re.MULTILINE)
    choices = [json.loads(e).get("choices", []) for e in events]
    return "".join(c[0].get("text", "") for c in choices if c)


def longest_gap(stream: client.Stream) -> float:
    times = [stream.sent, *stream.times]
    return max(b - a for a, b in zip(times, times[1:]))


class Watch:
    """Looks at what a change of plan costs until it is told to stop."""

    def __init__(self):
        self.plan = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.over.wait(0.05):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{home.API}/v1/cluster", timeout=5) as answer:
                    plan = json.load(answer)["plan"]
            except (OSError, ValueError, KeyError):
                continue
            if plan and plan["rows_recomputed"] + plan["rows_kept"] > 0:
                self.plan = plan

    def stop(self) -> str:
        self.over.set()
        self.thread.join()
        if not self.plan:
            return "nothing was computed again"
        p = self.plan
        layers = p["stages"][-1]["end"]
        stages = ", ".join(f"layers {s['begin']}..{s['end'] - 1}: {s['rows_recomputed']} rows, "
                           f"{s['row_layers_recomputed']} row-layers" for s in p["stages"])
        done = sum(s["row_layers_recomputed"] for s in p["stages"])
        rows = p["rows_recomputed"] + p["rows_kept"]
        return (f"{p['rows_recomputed']} of {rows} rows fed again, pages kept from layer {p['kept_from']} "
                f"of {layers} on; {stages}; {done} of {rows * layers} row-layers "
                f"({100 * done / (rows * layers):.0f} %)")


class Trial:
    def __init__(self, options):
        self.o = options
        self.random = random.Random(options.seed)
        self.equal = self.different = 0
        self.lines: list[str] = []

    def requests(self) -> list[Request]:
        def prompt():
            return [self.random.randrange(LOW_IDS, HIGH_IDS) for _ in range(self.o.prompt)]
        return [Request(prompt(), self.o.tokens) for _ in range(self.o.streams)]

    def run(self, requests: list[Request]) -> list[client.Stream]:
        return client.run(requests, home.API).streams

    def undisturbed(self, requests: list[Request]) -> tuple[list[str], float]:
        began = time.monotonic()
        streams = self.run(requests)
        return [text_of(s.answer) for s in streams], time.monotonic() - began

    def one(self, h: home.Home, kind: str, requests: list[Request], took: float) -> tuple[list[float], float]:
        """The longest gap of each stream that the fault interrupted, and how long the same requests
        take without it, afterwards: by then nobody has any of their beginnings."""
        fault, mend = FAULTS[kind]
        name = self.random.choice(h.names)
        moment = self.random.uniform(0.15, 0.85) * took
        struck = []

        def strike():
            struck.append(time.monotonic())
            fault(h, name)

        timer = threading.Timer(moment, strike)
        watch = Watch()
        timer.start()
        try:
            streams = self.run(requests)
        finally:
            timer.join()
            cost = watch.stop()
        print(f"{kind} {name}: {cost}", file=sys.stderr, flush=True)
        gaps = [longest_gap(s) for s in streams if s.sent < struck[0] < s.times[-1]]
        mend(h, name)
        h.wait_until_ready(len(h.names))
        texts, took = self.undisturbed(requests)
        for i, (stream, text) in enumerate(zip(streams, texts)):
            same = text_of(stream.answer) == text
            self.equal += same
            self.different += not same
            if not same:
                print(f"{kind} {name}: stream {i} differs: {text_of(stream.answer)!r}\n  was {text!r}",
                      file=sys.stderr)
        return gaps, took

    def kind(self, h: home.Home, kind: str):
        gaps = []
        _, took = self.undisturbed(self.requests())
        for index in range(self.o.rounds):
            requests = self.requests()
            try:
                of_round, took = self.one(h, kind, requests, took)
                gaps += of_round
            except client.Failure as e:
                self.different += len(requests)
                print(f"{kind}, round {index + 1}: {e}\n{h.coordinator.text()[-1500:]}", file=sys.stderr)
                return
            print(f"{kind}: round {index + 1} of {self.o.rounds}", file=sys.stderr, flush=True)
        if not gaps:
            raise client.Failure(f"{kind}: no stream was interrupted, so nothing was tried")
        self.lines.append(f"{kind}: {len(gaps)} streams interrupted, longest gap of each: median "
                          f"{median(gaps):.2f} s, worst {max(gaps):.2f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potluck", required=True)
    parser.add_argument("--netshape", required=True)
    parser.add_argument("--model", default=str(HERE.parent.parent / "models" / "tiny-coder-q8_0.gguf"))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--device", default="cpu:paced=10ms")
    parser.add_argument("--rate", default="1gbit")
    parser.add_argument("--rtt", default="0.3ms")
    parser.add_argument("--mtu", type=int, default=1500)
    parser.add_argument("--kinds", default="kill,hang,cut")
    parser.add_argument("--streams", type=int, default=10, help="at once, in each round")
    parser.add_argument("--rounds", type=int, default=5, help="faults of each kind")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flags", default="--use-all --speculation off",
                        help="more for `potluck coordinator`")
    o = parser.parse_args()
    trial = Trial(o)
    names = ["c", *(f"w{i}" for i in range(o.workers))]
    try:
        with network.Network(o.netshape, names, o.rate, o.rtt, o.mtu) as net:
            network.enter(net.namespace("c"))
            rtt, rate = net.measure("c", "w0")
            print(f"network, measured over TCP: {rtt * 1e3:.2f} ms there and back, {rate / 1e6:.0f} Mbit/s")
            flags = ["--slots", str(o.streams), *o.flags.split()]
            with home.Home(net, o.potluck, o.model, o.workers, o.device, flags) as h:
                for kind in o.kinds.split(","):
                    trial.kind(h, kind)
    except (network.Failure, client.Failure, OSError) as e:
        print(f"faults: {e}", file=sys.stderr)
        return 1
    for line in trial.lines:
        print(line)
    print(f"streams with the tokens of an undisturbed run: {trial.equal} of {trial.equal + trial.different}")
    return 3 if trial.different else 0


if __name__ == "__main__":
    sys.exit(main())
