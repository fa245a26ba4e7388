#!/usr/bin/env python3
"""Whether a machine with a GPU is given back when somebody else wants the card, and how soon.

    bench/neighbour/gpu.py --potluck build/release/bin/potluck
    bench/neighbour/gpu.py --potluck build/release/bin/potluck --busy "exec glxgears"

A coordinator and two workers on this machine, one with `--yield-gpu`, answer a request; meanwhile a
process begins to use the GPU (products of matrices with torch, or the command that is given) and ends.
The node must yield, the stream must go on with the same text, and the node must come back. README.md
says more. Exit code: 0 all of it was so, 3 something was not, 1 it could not be tried.
"""
import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "serve"), str(HERE.parent / "faults")]

import client  # noqa: E402
import faults  # noqa: E402
import home  # noqa: E402
import nvml  # noqa: E402

WATCHED = "w0"
IMPORT_S, YIELD_S, RETURN_S, STREAM_S = 60.0, 20.0, 30.0, 60.0

# Says when it could begin, waits to be told, and says when the card has computed for the first time.
TORCH = """
import sys, torch
print("ready", flush=True)
sys.stdin.readline()
a = torch.randn(4096, 4096, device="cuda")
first = True
while True:
    b = a @ a
    torch.cuda.synchronize()
    if first:
        print("computes", flush=True)
    first = False
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Here:
    """This machine, in place of namespaces on a shaped network."""

    def address(self, _name: str) -> str:
        return "127.0.0.1"

    def inside(self, _name: str, command: list[str]) -> list[str]:
        return command


class WatchedHome(home.Home):
    """Two workers, of which the first gives way to others on the GPU."""

    def __init__(self, o):
        home.API, home.DOOR = free_port(), free_port()
        self.calm = o.calm
        super().__init__(Here(), o.potluck, o.model, 2, f"cpu:paced={o.pace}",
                         ["--listen", f"127.0.0.1:{home.DOOR}", "--use-all", "--speculation", "off",
                          "--context", str(o.tokens + 64)])

    def start_worker(self, name: str, more: list[str]):
        more = ["--listen", "127.0.0.1:0", *more]
        if name == WATCHED:
            more += ["--yield-gpu", "--yield-calm", str(self.calm)]
        super().start_worker(name, more)

    def told(self) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{home.API}/v1/cluster", timeout=10) as answer:
            return json.load(answer)

    def watched(self) -> dict:
        """Of /v1/cluster: state, why, holds; and whether it has a stage."""
        told = self.told()
        node = next((n for n in told["nodes"] if n["name"] == WATCHED), None)
        if node is None:
            raise client.Failure(f"the node {WATCHED} is gone")
        stages = told["plan"]["stages"] if told["plan"] else []
        return {**node, "planned": any(s["node"] == node["id"] for s in stages)}

    def wait_for(self, seconds: float, what: str, is_so) -> float:
        """Until the watched node is as wanted; the time of that. Failure if it does not come."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            node = self.watched()
            now = time.monotonic()
            if is_so(node):
                return now
            time.sleep(0.02)
        raise client.Failure(f"{what}: not within {seconds:.0f} s; the node is {node['state']} "
                             f"({node['why'] or 'no reason'})")


class Busy:
    """A process that uses the GPU. What it prints besides is passed on."""

    def __init__(self, command: str):
        self.command = command
        self.child, self.began, self.computes = None, None, None
        self.ended = False  # by us
        if not command:
            self.start([sys.executable, "-c", TORCH])

    def start(self, command: list[str]):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                      start_new_session=True)

    def wait_until_it_can(self):
        if self.command:
            return
        killer = threading.Timer(IMPORT_S, self.child.kill)
        killer.start()
        line = self.child.stdout.readline()
        killer.cancel()
        if line != "ready\n":
            raise client.Failure("torch could not be imported; --busy takes another command")

    def begin(self):
        self.began = time.monotonic()
        if self.command:
            self.start(["/bin/sh", "-c", self.command])
        else:
            self.child.stdin.write("go\n")
            self.child.stdin.flush()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.child.stdout:
            if line == "computes\n":
                self.computes = time.monotonic()
            else:
                print(f"busy: {line.rstrip()}", file=sys.stderr)

    def running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def end(self):
        if not self.running():
            return
        self.ended = True
        os.killpg(self.child.pid, signal.SIGTERM)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()


class Answer:
    """A request that is answered on a thread of its own."""

    def __init__(self, request: client.Request):
        self.request, self.stream, self.problem = request, None, None
        self.thread = threading.Thread(target=self.ask, daemon=True)
        self.thread.start()

    def ask(self):
        try:
            self.stream = client.run([self.request], home.API).streams[0]
        except (client.Failure, OSError) as e:
            self.problem = e

    def wait(self) -> client.Stream:
        self.thread.join(STREAM_S)
        if self.stream is None:
            raise client.Failure(f"the stream: {self.problem or f'not over after {STREAM_S:.0f} s'}")
        return self.stream


def say(text: str):
    print(text, flush=True)


def say_gpus(when: str):
    for line in nvml.describe():
        say(f"{when}: {line}")


def trial(h: WatchedHome, busy: Busy, o) -> bool:
    node = h.watched()
    if node["state"] != "available":
        raise client.Failure(f"{WATCHED} is {node['state']} before anything was started: {node['why']}")
    request = client.Request([300 + i for i in range(16)], o.tokens)
    answer = Answer(request)
    time.sleep(1)
    busy.begin()
    try:
        yields = h.wait_for(YIELD_S, "the node yields", lambda n: n["state"] != "available")
        why = h.watched()["why"]
        given_back = h.wait_for(YIELD_S, "the node gives its memory back",
                                lambda n: n["state"] == "drained" and not n["holds"])
        say_gpus("during")
        first = f" ({yields - busy.computes:.2f} s after its first product)" if busy.computes else ""
        say(f"{WATCHED} ({why}): yields {yields - busy.began:.2f} s after the process began{first}; "
            f"its memory was given back {given_back - yields:.2f} s later")
        stream = answer.wait()
        if not busy.running():
            raise client.Failure(f"the process ended by itself, with status {busy.child.returncode}")
        still = h.watched()
    except client.Failure:
        say_gpus("during" if busy.running() else f"the process ended ({busy.child.returncode})")
        raise
    ended = time.monotonic()
    busy.end()
    back = h.wait_for(RETURN_S, "the node comes back", lambda n: n["state"] == "available" and n["planned"])
    h.wait_until_ready()
    say(f"{WATCHED}: has a stage again {back - ended:.2f} s after the process was ended, "
        f"of which {o.calm} s were to be calm")
    say_gpus("after")
    text = faults.text_of(Answer(request).wait().answer)
    return verdict(stream, text, yields, still, o)


def verdict(stream: client.Stream, undisturbed: str, yields: float, still: dict, o) -> bool:
    same = faults.text_of(stream.answer) == undisturbed
    lasted = stream.sent < yields < stream.times[-1]
    after = sum(t > yields for t in stream.times)
    say(f"stream: {len(stream.times)} of {o.tokens} tokens, {after} of them after the node yielded, longest "
        f"gap {faults.longest_gap(stream):.2f} s, with {'the' if same else 'ANOTHER'} text "
        f"{'of' if same else 'than'} an undisturbed run")
    if not lasted:
        say("the stream was over before the node yielded: ask for more --tokens")
    if still["state"] == "available":
        say(f"{WATCHED} came back while the process still ran")
    return same and lasted and still["state"] != "available"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potluck", required=True, help="the program, or a script that becomes it")
    parser.add_argument("--model", default=str(HERE.parent.parent / "models" / "tiny-coder-q8_0.gguf"))
    parser.add_argument("--busy", default="", help="uses the GPU until SIGTERM (`sh -c`); default: torch")
    parser.add_argument("--pace", default="20ms", help="of a batch at each worker, so that the answer lasts")
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--calm", type=float, default=3, help="as --yield-calm")
    o = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything is ended
    began = time.monotonic()
    say_gpus("before")
    busy, h = Busy(o.busy), WatchedHome(o)
    try:
        busy.wait_until_it_can()
        with h:
            try:
                h.wait_until_ready(2)
                good = trial(h, busy, o)
            except (client.Failure, home.Failure) as e:
                print(f"gpu: {e}\nwhat {WATCHED} said:\n{h.workers[WATCHED].text()[-1500:]}", file=sys.stderr)
                return 3 if busy.began and (busy.running() or busy.ended) else 1
    except (client.Failure, home.Failure, OSError, subprocess.CalledProcessError) as e:
        print(f"gpu: {e}", file=sys.stderr)
        return 1
    finally:
        busy.end()
    say(f"{'as promised' if good else 'NOT as promised'}; {time.monotonic() - began:.0f} s")
    return 0 if good else 3


if __name__ == "__main__":
    sys.exit(main())
