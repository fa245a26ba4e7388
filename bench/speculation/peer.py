#!/usr/bin/env python3
"""Edits side by side with a llama-server that has an n-gram drafter (llama.cpp, ik_llama.cpp): the same
file and prompts, one process each with as many threads, greedy, in turn. README.md says what the
figures are. Nothing is downloaded: give it any llama-server that you built.

  bench/speculation/peer.py --potluck build/release/bin/potluck --server .../bin/llama-server \\
      --model models/tiny-coder-q8_0.gguf --prompts PROMPTS.json
"""
import argparse
import http.client
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent))

from speculation import Answer, Failure, ask, own_seconds, processes, streamed  # noqa: E402
from servers import Cluster, Program  # noqa: E402

READY_S = 60
# The n-gram pool with the parameters of the published figures, as llama.cpp and ik_llama.cpp spell them.
NGRAM_MOD = ("--spec-type ngram-mod --spec-ngram-mod-n-match 24 --spec-ngram-mod-n-min 12 "
             "--spec-ngram-mod-n-max 48")
NGRAM_MOD_IK = "--spec-type ngram-mod:n_max=48,n_min=12,ngram_size_n=24"


class LlamaServer(Program):
    """A llama-server on a port of its own, once it is ready, until the end of a `with`."""

    def __init__(self, command: list[str]):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        super().__init__([*command, "--host", "127.0.0.1", "--port", str(self.port)])
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def _wait_until_ready(self):
        until = time.monotonic() + READY_S
        while time.monotonic() < until and self.child.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            time.sleep(0.1)
        raise Failure(f"{' '.join(self.command)}: not ready: {self.text().strip()[-800:]}")

    def ask(self, prompt: str, tokens: int) -> Answer:
        body = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "top_k": 1, "stream": True,
                "cache_prompt": False}
        events, seconds = streamed(self.port, "/completion", body)
        timings = next((e["timings"] for e in reversed(events) if e.get("timings")), None)
        if timings is None or timings["predicted_n"] < 2:
            raise Failure(f"the peer: too short an answer to {prompt[-40:]!r}")
        text = "".join(e.get("content", "") for e in events)
        return Answer(text, timings["predicted_n"], seconds, timings)


def measure(options) -> None:
    prompts = json.loads(options.prompts.read_text())[: options.most]
    peer = [options.server, "-m", str(options.model), "-t", str(options.threads), "-c", "2048",
            *options.peer_flags]
    ours = ["--model", str(options.model), "--workers", "1", "--threads", str(options.threads),
            "--slots", "2", *options.flags]
    names = ("potluck, off", "potluck, auto", "peer, plain", "peer, drafts")
    rates = {name: [[] for _ in prompts] for name in names}
    own_clock = {name: [[] for _ in prompts] for name in names[2:]}
    same = {"potluck": 0, "peer": 0, "both": 0}
    for round_ in range(options.rounds):
        with Cluster(options.potluck, ours) as server, LlamaServer(peer) as plain, \
                LlamaServer([*peer, *options.drafts]) as drafting:
            ways = {names[0]: lambda p, n: ask(server.port, p, n, "off"),
                    names[1]: lambda p, n: ask(server.port, p, n, "auto"),
                    names[2]: plain.ask, names[3]: drafting.ask}
            for way in ways.values():
                way("import os\n", 16)
            for i, prompt in enumerate(prompts):
                print(f"round {round_ + 1}: {prompt['name']}", file=sys.stderr)
                turn = (i + round_) % len(names)
                told = {name: ways[name](prompt["prompt"], prompt["n"])
                        for name in names[turn:] + names[:turn]}
                for name in names:
                    rates[name][i].append(told[name].rate())
                for name in names[2:]:
                    own_clock[name][i].append(told[name].speculation["predicted_per_second"])
                texts = [told[name].text for name in names]
                same["potluck"] += texts[0] == texts[1]
                same["peer"] += texts[2] == texts[3]
                same["both"] += texts[0] == texts[2]
    show(prompts, names, rates, own_clock, same, options)


def show(prompts, names, rates, own_clock, same, options) -> None:
    print("| tokens/s | " + " | ".join(names) + " |\n" + "|---" * 5 + "|")
    for i, prompt in enumerate(prompts):
        told = " | ".join(f"{median(rates[name][i]):.0f}" for name in names)
        print(f"| {prompt['name']} | {told} |")
    of = {name: [median(r) for r in rates[name]] for name in names}

    own = {name: [median(r) for r in own_clock[name]] for name in names[2:]}

    def ratio(a: str, b: str) -> str:
        all_ = sorted(x / y for x, y in zip(of[a], of[b], strict=True))
        return f"median {median(all_):.2f}, least {all_[0]:.2f}, best {all_[-1]:.2f}"

    print(f"\n{options.threads} thread{'s' * (options.threads > 1)}, {options.rounds} rounds, medians of "
          f"prompts:\npotluck, auto against off: {ratio(names[1], names[0])}\npeer, drafts against plain: "
          f"{ratio(names[3], names[2])}\npotluck against peer, without drafts: {ratio(names[0], names[2])}\n"
          f"potluck against peer, with drafts: {ratio(names[1], names[3])}")
    gains = [drafts / plain for plain, drafts in zip(own[names[2]], own[names[3]], strict=True)]
    print(f"By the peer's own clock, which the client does not slow: plain {median(own[names[2]]):.0f} "
          f"tokens/s, drafts {median(own[names[3]]):.0f}, median ratio {median(gains):.2f}")
    asked = options.rounds * len(prompts)
    print(f"Of {asked} texts, equal with and without drafts: potluck {same['potluck']}, peer "
          f"{same['peer']}; potluck's and the peer's: {same['both']}")


def said(server: str, flag: str) -> str:
    told = subprocess.run([server, flag], capture_output=True, text=True, timeout=60, check=False)
    return told.stdout + told.stderr


def ngram_mod(server: str) -> list[str]:
    return (NGRAM_MOD if "--spec-ngram-mod-n-match" in said(server, "--help") else NGRAM_MOD_IK).split()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potluck", default="potluck")
    parser.add_argument("--server", required=True, help="llama-server of the peer")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True, help="JSON: a list of {name, prompt, n}")
    parser.add_argument("--most", type=int, default=None, help="of the prompts, the first so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--drafts", type=str.split,
                        help="the peer's flags for drafts (default: ngram-mod with 24, 12 and 48)")
    parser.add_argument("--peer-flags", type=str.split, default=[], help="more flags of llama-server")
    parser.add_argument("--flags", type=str.split, default=[], help="more flags of `potluck up`")
    options = parser.parse_args()
    foreign = processes.ForeignWork()
    try:
        options.drafts = options.drafts or ngram_mod(options.server)
        version = re.search(r"version: .*", said(options.server, "--version"))
        version = version[0] if version else "of unknown version"
        print(f"The peer, {version}; its drafts: {' '.join(options.drafts)}\n")
        foreign.measure(lambda: (measure(options), own_seconds()))
    except (Failure, OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"peer.py: {error}", file=sys.stderr)
        return 1
    cores = foreign.cores()
    told = "not known" if cores is None else f"{cores:.2f}"
    print(f"Other work on the machine, in cores: {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
