#!/usr/bin/env python3
"""What speculation brings to one stream: `auto` beside `off`, and a drafter that is right as often as it
is told beside the law of a filled pipeline. Real processes; README.md says what each figure is.

  bench/speculation/speculation.py --potluck build/release/bin/potluck --prompts FILE.json
  bench/speculation/speculation.py --potluck ... --suites law
"""
import argparse
import http.client
import json
import re
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

for folder in ("serve", "peer"):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / folder))

import processes  # noqa: E402
from client import Failure  # noqa: E402
from servers import LATE, Cluster  # noqa: E402

LAW_TOLERANCE = 0.10
MOST_HOP_US = 150
REPORTED_S = 0.6  # workers tell their times four times a second
LAW_PROMPT = "def total(items, rate):\n    result = 0\n"


@dataclass
class Answer:
    text: str
    tokens: int
    seconds: float  # from the first token to the end
    speculation: dict

    def rate(self) -> float:
        return (self.tokens - 1) / self.seconds


def streamed(port: int, path: str, body: dict) -> tuple[list[dict], float]:
    """The events of an answer, and the seconds from the first of them to its end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=170)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise Failure(f"the server: {response.read().decode(errors='replace')}")
    events, first = [], None
    while line := response.readline():
        if not line.startswith(b"data: {"):
            continue
        if first is None:
            first = time.monotonic()
        events.append(json.loads(line[6:]))
    end = time.monotonic()
    connection.close()
    return events, end - (first or end)


def ask(port: int, prompt: str, tokens: int, speculation: str, **more) -> Answer:
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}, "speculation": speculation} | more
    events, seconds = streamed(port, "/v1/completions", body)
    usage = next((e["usage"] for e in reversed(events) if e.get("usage")), None)
    if usage is None or usage["completion_tokens"] < 2:
        raise Failure(f"too short an answer to {prompt[-40:]!r}")
    text = "".join(choice["text"] for e in events for choice in e["choices"])
    return Answer(text, usage["completion_tokens"], seconds, usage.get("speculation", {}))


def pairs(options, workers: int, prompts: list[dict]) -> list[dict]:
    """Each prompt once with `auto` and once with `off` on one server, in turn; a new server for each
    round, so that no drafter knows an answer from before."""
    found = [{"name": p["name"], "ratio": [], "off": [], "auto": []} for p in prompts]
    for round_ in range(options.rounds):
        with Cluster(options.potluck, ["--workers", str(workers), "--slots", "2", *options.flags]) as server:
            ask(server.port, "import os\n", 16, "off")
            for i, (prompt, figures) in enumerate(zip(prompts, found, strict=True)):
                print(f"{workers} workers, round {round_ + 1}: {prompt['name']}", file=sys.stderr)
                order = ("off", options.arm) if (i + round_) % 2 == 0 else (options.arm, "off")
                told = {arm: ask(server.port, prompt["prompt"], prompt["n"], arm) for arm in order}
                plain, drafted = told["off"], told[options.arm]
                if plain.text != drafted.text:
                    raise Failure(f"{prompt['name']}: the text differs")
                figures["ratio"].append(drafted.rate() / plain.rate())
                figures["off"].append(plain.rate())
                figures["auto"].append(drafted.rate())
                figures["speculation"] = drafted.speculation
    return found


def show_pairs(workers: int, found: list[dict]):
    print(f"\n{workers} worker{'s' * (workers > 1)}\n\n"
          "| prompt | off, tokens/s | with, tokens/s | ratio | accepted of drafted | arm |\n"
          "|---|---|---|---|---|---|")
    for f in found:
        s = f["speculation"]
        print(f"| {f['name']} | {median(f['off']):.0f} | {median(f['auto']):.0f} | {median(f['ratio']):.2f} "
              f"| {s['accepted']} of {s['drafted']} | {s['arm']} |")
    ratios = sorted(median(f["ratio"]) for f in found)
    print(f"\nDecoding: median {median(ratios):.2f} times, least {ratios[0]:.2f}, best {ratios[-1]:.2f}.")


def law(options, stages: list[int]) -> int:
    """Stages of 10 ms, times their weight; a row more costs as much, so that jobs go ahead one by one."""
    paces = ",".join(f"{w}ms+{9 * w}ms" for w in stages)
    missed = 0
    with Cluster(options.potluck, ["--workers", str(len(stages)), "--pace", paces, "--slots", "2",
                                   "--threads", "1", "--test-drafters", *options.flags]) as server:
        def rate(arm: str) -> Answer:
            return ask(server.port, LAW_PROMPT, options.tokens, arm, ignore_eos=True)
        plain = [rate("off") for _ in range(2)]  # and the drafter that is told learns the answer
        token = median(1 / p.rate() for p in plain)
        jobs = token / (max(stages) * 0.010)
        print(f"\nStages of {', '.join(f'{10 * w} ms' for w in stages)}: {token * 1000:.2f} ms a token, "
              f"{(token - sum(stages) * 0.010) * 1000:.2f} ms of them beyond the stages, S {jobs:.2f}\n\n"
              "| a | accepted | times as fast | law | ratio |\n|---|---|---|---|---|")
        for a in options.chances:
            drafted = rate(f"forced:{a:g}")
            if drafted.text != plain[0].text:
                raise Failure(f"a = {a}: the text differs")
            s = drafted.speculation
            # As it came out: the draws of so few tokens are not exactly a.
            real = s["accepted"] / s["drafted"] if s["drafted"] else 0.0
            faster = drafted.rate() * token
            says = jobs / (jobs * (1 - real) + real)
            missed += abs(faster / says - 1) > LAW_TOLERANCE
            print(f"| {a:g} | {real:.2f} | {faster:.2f} | {says:.2f} | {faster / says:.3f} |", flush=True)
        if LATE in server.text():
            raise Failure("a paced worker could not keep its pace")
    return missed


def coordinator_seconds(server: Cluster) -> float:
    """Processor time of the coordinator, all threads; its workers are other processes."""
    tasks = Path(f"/proc/{server.child.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def interval(values: list[float], digits: int = 3) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def crowd(options, workers: int, prompts: list[dict]) -> int:
    """Many streams at once, `auto` and `off` in turn: tokens per second of all together."""
    flags = ["--workers", str(workers), "--slots", str(options.streams), *options.flags]
    rates, spent = {"off": [], options.arm: []}, {"off": [], options.arm: []}
    drafted = wasted = tokens_drafted = 0
    for round_ in range(options.rounds):
        with Cluster(options.potluck, flags) as server, ThreadPoolExecutor(options.streams) as pool:
            ask(server.port, "import os\n", 16, "off")
            for arm in ("off", options.arm) if round_ % 2 == 0 else (options.arm, "off"):
                # Nobody's prompt begins like another's, and no answer was heard before.
                asked = [f"# {arm} {i}\n" + prompts[i % len(prompts)]["prompt"]
                         for i in range(options.streams)]
                before, start = coordinator_seconds(server), time.monotonic()
                answers = list(pool.map(lambda p, arm=arm: ask(server.port, p, options.tokens, arm,
                                                               ignore_eos=True), asked))
                took = time.monotonic() - start
                tokens = sum(a.tokens for a in answers)
                rates[arm].append(tokens / took)
                spent[arm].append((coordinator_seconds(server) - before) / tokens * 1e6)
                if arm != "off":
                    rows = sum(a.speculation["drafted"] for a in answers)
                    drafted += rows
                    wasted += rows - sum(a.speculation["accepted"] for a in answers)
                    tokens_drafted += tokens
    ratios = [a / b for a, b in zip(rates[options.arm], rates["off"], strict=True)]
    print(f"\n{options.streams} streams at once, {workers} worker{'s' * (workers > 1)}: off "
          f"{median(rates['off']):.0f} tokens/s, {options.arm} {median(rates[options.arm]):.0f}; ratio "
          f"{interval(ratios)}\nDrafted rows a token {drafted / tokens_drafted:.4f}, of no use "
          f"{wasted / tokens_drafted:.4f}; the coordinator's processor time a token: off "
          f"{interval(spent['off'])} us, {options.arm} {interval(spent[options.arm])} us")
    return int(max(ratios) < 1)


def sampled(options) -> int:
    """At temperature 1, where no drafter can be right of a model of random weights: what `auto` costs."""
    rates, spent = {"off": [], options.arm: []}, {"off": [], options.arm: []}
    drafted = tokens = 0
    with Cluster(options.potluck, ["--workers", "1", "--slots", "2", *options.flags]) as server:
        ask(server.port, "one two", 4, "off")
        for round_ in range(options.rounds):
            for arm in ("off", options.arm) if round_ % 2 == 0 else (options.arm, "off"):
                before = coordinator_seconds(server)
                answer = ask(server.port, f"{round_} one two three", options.tokens, arm, temperature=1,
                             seed=round_, ignore_eos=True)
                rates[arm].append(answer.rate())
                spent[arm].append((coordinator_seconds(server) - before) / answer.tokens * 1e6)
                if arm != "off":
                    drafted += answer.speculation["drafted"]
                    tokens += answer.tokens
    step_us = 1e6 / median(rates["off"])
    more_us = median(spent[options.arm]) - median(spent["off"])
    print(f"\nTemperature 1, a step of {step_us / 1e3:.1f} ms: speed against off "
          f"{interval([a / b for a, b in zip(rates[options.arm], rates['off'], strict=True)])}; drafted rows "
          f"{drafted} for {tokens} tokens; the coordinator's processor time a token: off "
          f"{interval(spent['off'])} us, {options.arm} {interval(spent[options.arm])} us: "
          f"{more_us / step_us:.2%} of a step")
    return 0


def stage_work(port: int) -> dict[str, tuple[float, float]]:
    """By stage: batches of which it told the time, and the seconds that it computed in them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    line = r'^potluck_stage_%s_total{stage="(\d+)"} (\S+)$'
    told = {what: dict(re.findall(line % what, text, re.MULTILINE)) for what in ("steps", "compute_seconds")}
    return {stage: (float(steps), float(told["compute_seconds"][stage]))
            for stage, steps in told["steps"].items()}


def hops(options, workers: int) -> int:
    """Without drafts: what a token takes beyond the stages' computing, for each hop of its way."""
    flags = ["--workers", str(workers), "--slots", "2", "--speculation", "off", *options.flags]
    tokens_us, compute_us, hop_us = [], [], []
    with Cluster(options.potluck, flags) as server:
        ask(server.port, "import os\n", 64, "off", ignore_eos=True)
        for round_ in range(options.rounds):
            time.sleep(REPORTED_S)
            before = stage_work(server.port)
            answer = ask(server.port, f"# {round_}\n", options.tokens, "off", ignore_eos=True)
            time.sleep(REPORTED_S)
            after = stage_work(server.port)
            if any(steps <= before[stage][0] for stage, (steps, _) in after.items()):
                raise Failure("a stage told no times: more --tokens")
            compute = sum((seconds - before[stage][1]) / (steps - before[stage][0])
                          for stage, (steps, seconds) in after.items())
            tokens_us.append(1e6 / answer.rate())
            compute_us.append(1e6 * compute)
            # Coordinator to first stage, between stages, last stage to coordinator.
            hop_us.append((tokens_us[-1] - compute_us[-1]) / (workers + 1))
    print(f"\nWithout drafts, {workers} worker{'s' * (workers > 1)}: {interval(tokens_us, 0)} us a token, "
          f"{interval(compute_us, 0)} of them the stages' computing; beyond it {interval(hop_us, 0)} us for "
          f"each of {workers + 1} hops")
    return int(median(hop_us) > MOST_HOP_US)


def own_seconds() -> float:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def measure(options) -> int:
    missed = 0
    if "pairs" in options.suites:
        prompts = json.loads(options.prompts.read_text())
        for workers in options.workers:
            show_pairs(workers, pairs(options, workers, prompts))
    if "crowd" in options.suites:
        prompts = json.loads(options.prompts.read_text())
        missed += sum(crowd(options, workers, prompts) for workers in options.workers)
    if "sampled" in options.suites:
        missed += sampled(options)
    if "hops" in options.suites:
        missed += sum(hops(options, workers) for workers in options.workers)
    if "law" in options.suites:
        for stages in ([1, 1, 1, 1], [1, 3, 1, 1]):
            missed += law(options, stages)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potluck", default="potluck")
    parser.add_argument("--suites", type=lambda text: text.split(","), default=["pairs"],
                        help="pairs,crowd,sampled,hops,law")
    parser.add_argument("--prompts", type=Path, help="JSON: a list of {name, prompt, n}")
    parser.add_argument("--workers", type=lambda t: [int(n) for n in t.split(",")], default=[1, 3])
    parser.add_argument("--arm", default="auto", help="what is measured beside off")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=160, help="of answers, but of pairs")
    parser.add_argument("--chances", type=lambda t: [float(a) for a in t.split(",")],
                        default=[0, 0.3, 0.5, 0.7, 0.9, 1])
    parser.add_argument("--flags", type=str.split, default=[], help="more flags of `potluck up`")
    parser.add_argument("--streams", type=int, default=64, help="of crowd")
    options = parser.parse_args()
    if {"pairs", "crowd"} & set(options.suites) and not options.prompts:
        parser.error("--prompts is needed")
    foreign = processes.ForeignWork()
    try:
        missed = foreign.measure(lambda: (measure(options), own_seconds()))
    except (Failure, OSError, ValueError) as error:
        print(f"speculation.py: {error}", file=sys.stderr)
        return 1
    cores = foreign.cores()
    print("\nOther work on the machine, in cores: " + ("not known" if cores is None else f"{cores:.2f}"))
    return 3 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
