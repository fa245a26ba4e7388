"""What is measured: each suite starts its servers, takes rounds in turn and returns its figures."""
import json
import os
import random
import subprocess
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from client import Failure, Load, Request
from cores import Cores, in_order, kept_to
from figures import (Figure, against_the_curve, allowed_over_one_process, allowed_over_one_worker, gaps,
                     of_a_batch, rows_needed, total_rate)
from servers import Cluster, PeerServer

SHORT = 16  # tokens of a prompt that is only there to decode behind
LONG = 1536  # of the prompt that arrives while others decode
LOW_IDS, HIGH_IDS = 300, 1000  # of made prompts; every vocabulary has them


class Bench:
    """The options, distinct prompts, and how much of a core the clients took."""

    def __init__(self, options, note):
        self.o, self.note = options, note
        self.random = random.Random(options.seed)
        self.client_cores = 0.0
        self.cores = Cores(in_order(os.sched_getaffinity(0))) if options.pin else None

    def prompt(self, tokens: int) -> list[int]:
        """Never the same twice: no cache of prompts helps."""
        return [self.random.randrange(LOW_IDS, HIGH_IDS) for _ in range(tokens)]

    def request(self, prompt: int, tokens: int, **more) -> Request:
        return Request(self.prompt(prompt), tokens, **more)

    def cluster(self, workers: int, threads: int, slots: int, context: int, *more: str) -> Cluster:
        return self.start(workers, threads, slots, context, "--model", str(self.o.model), *more)

    def paced(self, workers: int, slots: int, pace: str) -> Cluster:
        model = ["--model", str(self.o.paced_model)] if self.o.paced_model else []
        pinned = self.cores is not None and self.cores.has(workers)  # they sleep: they may share cores
        return self.start(workers, 1, slots, 256, *model, "--pace", pace, *self.without_drafts(),
                          pinned=pinned)

    def start(self, workers: int, threads: int, slots: int, context: int, *more: str,
              pinned: bool = True) -> Cluster:
        with kept_to(set(self.cores.order) if self.cores else None):  # not to the clients' cores
            return Cluster(self.o.potluck, [
                "--workers", str(workers), "--threads", str(threads), "--slots", str(slots),
                "--context", str(context), *self.o.flags, *more],
                self.cores.take(workers * threads) if self.cores and pinned else None)

    def peer(self, threads: int, context: int, sequences: int) -> PeerServer:
        with kept_to(self.cores.take(threads) if self.cores else None):
            return PeerServer(self.o.node, Path(self.o.model), threads, context, sequences)

    def objective(self, wanted: str) -> list[str]:
        """The flag that has layers cut for what a suite measures, unless the user's flags say."""
        return [] if {"--objective", "--split"} & set(self.o.flags) else ["--objective", wanted]

    def without_drafts(self) -> list[str]:
        """For what is compared with c(rows): of a step with drafts nobody knows the rows."""
        return [] if "--speculation" in self.o.flags else ["--speculation", "off"]

    def run(self, server, requests: list[Request]) -> Load:
        load = server.run(requests)
        self.client_cores = max(self.client_cores, load.client_cores)
        return load

    def rounds(self, name: str, states: list):
        """(round, state) pairs, the other way round in every other round."""
        for index in range(self.o.rounds):
            self.note(f"{name}: round {index + 1} of {self.o.rounds}")
            for state in states if index % 2 == 0 else reversed(states):
                yield index, state


def over(a: list[float], b: list[float]) -> list[float]:
    return [x / y for x, y in zip(a, b, strict=True)]


def prefill(b: Bench) -> list[Figure]:
    """One prompt over two workers of one thread each, with layers cut for prompts and for the tokens of
    all slots, and what two such workers could do at best."""
    length = 1024
    rates = {"one": [], "two": [], "default cut": [], "apart": []}
    with ExitStack() as stack:
        cut = b.objective("prefill")  # the default is all slots' tokens: other cuts
        one, again, two = (stack.enter_context(b.cluster(n, 1, 2, 2048, *cut)) for n in (1, 1, 2))
        asked = {"one": one, "apart": one, "two": two}
        if cut:
            asked["default cut"] = stack.enter_context(b.cluster(2, 1, 2, 2048))
        else:
            del rates["default cut"]  # the user's own is that of "two"

        def once(state: str) -> float:
            count = 2 if state == "apart" else 1
            requests = [b.request(length, 2, port=again.port if i else 0) for i in range(count)]
            load = b.run(asked[state], requests)
            return sum(length / s.first() for s in load.streams)

        for state in rates:
            once(state)  # warm-up
        for _, state in b.rounds("prefill", list(rates)):
            rates[state].append(once(state))
    apart = over(rates["apart"], rates["one"])
    gain = over(rates["two"], rates["one"])
    default = [Figure("two workers ÷ one, layers cut as by default", "", over(cut, rates["one"]))
               for name, cut in rates.items() if name == "default cut"]
    return [
        Figure(f"prompt of {length}, one worker of one thread", "tok/s", rates["one"]),
        Figure(f"prompt of {length}, two workers of one thread", "tok/s", rates["two"]),
        Figure("two workers ÷ one", "", gain, 1.7),
        *default,
        Figure("two prompts on two servers apart ÷ one", "", apart,
               note="what the machine gives two threads that share nothing"),
        Figure("two workers ÷ two servers apart", "", over(gain, apart)),
    ]


def curve(b: Bench, threads: int, rows: list[int]) -> dict[int, float]:
    """c(rows) in milliseconds, by `potluck bench --rows`."""
    command = [b.o.potluck, "bench", "--model", str(b.o.model), "--threads", str(threads), "--pp", "0",
               "--tg", "0", "--rows", ",".join(map(str, rows)), "--runs", "5", "--json", "--no-limits"]
    with kept_to(b.cores.take(threads, coordinator=False) if b.cores else None):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: {done.stderr.strip()}")
    return {int(n): ms for n, ms in json.loads(done.stdout)["rows"].items()}


def decode_rates(b: Bench, name: str, servers: dict, clients: list[int], tokens, also=None,
                 more: list = ()) -> dict:
    """Total tokens per second by (server, clients), one for each round; of `more` such pairs too, and
    `also` is done once in each. A pair of servers is asked at once, each by half of the clients."""
    rates = {(s, n): [] for n in clients for s in servers if n > 1 or not isinstance(servers[s], tuple)}
    rates |= {pair: [] for pair in more}

    def once(state) -> float:
        server, n = state
        asked = servers[server] if isinstance(servers[server], tuple) else (servers[server],)
        requests = [b.request(SHORT, tokens(n), port=asked[i % len(asked)].port) for i in range(n)]
        return total_rate(b.run(asked[0], requests).streams)

    for server in servers:
        once((server, max(clients)))  # warm-up
    for _, state in b.rounds(name, [*rates, *(["also"] if also else [])]):
        if state == "also":
            also()
        else:
            rates[state].append(once(state))
    return rates


def of_the_curve(rates: dict, server: str, c: dict, n: int, stages: int = 1) -> Figure:
    """How near a server comes to the rate that the curve allows it: n / c(n / stages). Ratios over one
    worker are easy to reach if that one does badly; this shows it."""
    ms = of_a_batch(c, n, stages)
    return Figure(f"{n} clients: {server} ÷ what c allows", "", [r * ms / 1e3 / n for r in rates[server, n]],
                  note="N/c(N)" if stages == 1 else "N/c(N/S)")


def of_the_formulas(rates: dict, servers: tuple, curves: list[dict], n: int, stages: int) -> list[Figure]:
    """Both ratios of a pipeline, and how much each is of what the curve of its round allows."""
    pipeline, worker, process = servers
    return [
        *against_the_curve(f"{n} clients: {pipeline} ÷ {worker}", "c(N)/c(N/S)",
                           over(rates[pipeline, n], rates[worker, n]),
                           [allowed_over_one_worker(c, n, stages) for c in curves]),
        *against_the_curve(f"{n} clients: {pipeline} ÷ {process}", "c(N)/(S·c(N/S))",
                           over(rates[pipeline, n], rates[process, n]),
                           [allowed_over_one_process(c, n, stages) for c in curves])]


def decode(b: Bench) -> list[Figure]:
    """N clients over two one-thread workers, beside one of them and beside one process of two threads."""
    stages, clients = 2, b.o.clients
    rows = rows_needed(clients, stages)
    curves = []  # one in each round, so that what drifts touches it as it does the rest
    slots = max(clients)
    with ExitStack() as stack:
        plain = b.without_drafts()
        servers = {name: stack.enter_context(b.cluster(workers, threads, slots, 256, *plain))
                   for name, workers, threads in (("one worker", 1, 1), ("two workers", stages, 1),
                                                  ("one process", 1, stages))}
        servers["two servers apart"] = (servers["one worker"],
                                        stack.enter_context(b.cluster(1, 1, slots, 256, *plain)))
        rates = decode_rates(b, "decode", servers, clients, lambda n: 48 if n < 32 else 32,
                             lambda: curves.append(curve(b, 1, rows)))
    c = {n: median(one[n] for one in curves) for n in rows}
    figures = [Figure(f"c({n}), one thread", "ms", [one[n] for one in curves]) for n in rows]
    figures += [Figure(f"{n} clients, {server}", "tok/s", rate) for (server, n), rate in rates.items()]
    figures += [of_the_curve(rates, server, c, n, of) for n in clients if n >= stages
                for server, of in (("one worker", 1), ("two workers", stages))]
    for n in [n for n in clients if n >= stages]:
        figures += of_the_formulas(rates, ("two workers", "one worker", "one process"), curves, n, stages)
        figures += [
            Figure(f"{n} clients: two servers apart ÷ one worker", "",
                   over(rates["two servers apart", n], rates["one worker", n]),
                   note="what the machine gives two threads that share nothing"),
        ]
    if {1, 8} <= set(clients):
        figures.append(Figure("one process: 8 clients ÷ 1 client", "",
                              over(rates["one process", 8], rates["one process", 1]), 3.0))
    return figures


BASE, PER_ROW = 10.0, 1.0  # milliseconds of a paced worker for each batch, and for each row of it


def paced(b: Bench) -> list[Figure]:
    """N clients over paced workers, so many that this machine need not have a core for each."""
    return [f for stages in b.o.stages for f in paced_stages(b, stages)]


def paced_stages(b: Bench, stages: int) -> list[Figure]:
    """N clients over `stages` paced workers, beside one that takes as long as all of them, and one as
    fast as all of them. c(n) is of one paced worker, as it was measured in the same round."""
    clients = [n for n in b.o.clients if n >= stages]
    rows = rows_needed(clients, stages)
    names = (f"{stages} paced workers", "one paced worker", "one paced process")
    pipeline, worker, process = names
    with ExitStack() as stack:
        def server(workers: int, part: int):
            return stack.enter_context(b.paced(workers, max(clients), f"{BASE * part}ms+{PER_ROW * part}ms"))

        servers = {pipeline: server(stages, 1), worker: server(1, stages), process: server(1, 1)}
        rates = decode_rates(b, f"paced, {stages} stages", servers, clients, lambda n: 48 if n < 32 else 32,
                             more=[(worker, n) for n in rows if n not in clients])
    curves = [{n: n / rates[worker, n][i] * 1e3 for n in rows} for i in range(b.o.rounds)]
    c = {n: median(one[n] for one in curves) for n in rows}
    figures = [Figure(f"c({n}), one paced worker", "ms", [one[n] for one in curves],
                      note=f"its pace is {stages * (BASE + PER_ROW * n):.0f} ms") for n in rows]
    figures += [Figure(f"{n} clients, {name}", "tok/s", rates[name, n]) for n in clients for name in names]
    figures += [of_the_curve(rates, pipeline, c, n, stages) for n in clients]
    return figures + [f for n in clients for f in of_the_formulas(rates, names, curves, n, stages)]


def gap_once(b: Bench, server) -> tuple[float, float, float]:
    """A client decodes, a long prompt comes: the longest gap meanwhile, the usual one, and how long
    the prompt's first token took."""
    # Until the long prompt is answered, at most as long as a slot has room.
    load = b.run(server, [b.request(SHORT, 2048 - SHORT - 8, until=1),
                          b.request(LONG, 4, after=(0, 24))])
    a, late = load.streams
    usual = median(gaps(a, a.times[8], late.sent))
    return max(gaps(a, late.sent, late.times[-1])), usual, late.first()


def gap_figures(name: str, taken: list, target: float | None) -> list[Figure]:
    longest, usual, first = (list(values) for values in zip(*taken))
    return [Figure(f"{name}: longest gap while a prompt of {LONG} arrives", "s", longest, target, False),
            Figure(f"{name}: usual gap before", "s", usual),
            Figure(f"{name}: first token of that prompt", "s", first)]


def together_once(b: Bench, server, clients: int, length: int) -> dict[str, float]:
    alone = b.run(server, [b.request(length, 8)]).streams[0].first()
    firsts = sorted(s.first() for s in b.run(
        server, [b.request(length, 8) for _ in range(clients)]).streams)
    return {"alone": alone, "first": firsts[0], "median": median(firsts), "last": firsts[-1]}


def together_figures(name: str, taken: list[dict], clients: int, length: int, target) -> list[Figure]:
    def values(key):
        return [t[key] for t in taken]

    return [Figure(f"{name}: first token of a prompt of {length} alone", "s", values("alone"))] + [
        Figure(f"{name}: {which} first token of {clients} together", "s", values(which))
        for which in ("first", "median", "last")] + [
        Figure(f"{name}: first of {clients} ÷ alone", "", over(values("first"), values("alone")),
               target, False)]


TOGETHER = (8, 256)  # clients, tokens of each prompt
AS_IF_ALONE = 1.15  # the first of many may take so many times as long as one alone


def gap(b: Bench) -> list[Figure]:
    taken = {"one process": [], "two workers": []}
    with ExitStack() as stack:
        servers = {"one process": stack.enter_context(b.cluster(1, 2, 4, 2048)),
                   "two workers": stack.enter_context(b.cluster(2, 1, 4, 2048))}
        for _, name in b.rounds("gap", list(servers)):
            taken[name].append(gap_once(b, servers[name]))
    return [f for name in taken for f in gap_figures(name, taken[name], 0.25)]


def together(b: Bench) -> list[Figure]:
    clients, length = TOGETHER
    with b.cluster(1, 2, clients, 512) as server:
        together_once(b, server, 2, length)  # warm-up
        taken = [together_once(b, server, clients, length) for _ in b.rounds("together", [0])]
    return together_figures("one process", taken, clients, length, AS_IF_ALONE)


CROWD = 200  # clients at once
FLAT = 1.02  # memory after a crowd may be so many times what it was after the first one


def overload(b: Bench) -> list[Figure]:
    """Far more clients than slots, and places to wait for half of them: each gets its answer or is
    refused, and the memory of the processes does not grow from crowd to crowd."""
    answered, refused, memory = [], [], []
    with b.cluster(1, 2, 8, 256, "--queue-limit", str(CROWD // 2)) as server:

        def crowd():
            load = b.run(server, [b.request(b.random.randrange(8, 129), 16, may_be_refused=True)
                                  for _ in range(CROWD)])
            refused.append(sum(s.refused for s in load.streams))
            answered.append(CROWD - refused[-1])
            memory.append(server.memory() / 2 ** 20)

        crowd()  # and what it leaves is what the others are compared with
        for _ in b.rounds("overload", [0]):
            crowd()
    return [
        Figure(f"of {CROWD} clients on 8 slots, answered in full", "", answered),
        Figure(f"of {CROWD} clients on 8 slots, refused with 429", "", refused),
        Figure("memory after the first crowd", "MiB", memory[:1]),
        Figure("memory after each other crowd", "MiB", memory[1:]),
        Figure("÷ after the first", "", [m / memory[0] for m in memory[1:]], FLAT, False),
    ]


def peer(b: Bench) -> list[Figure]:
    """The same of Potluck on one process and of the peer, both with two threads, in turn."""
    clients, length = TOGETHER
    taken = {"Potluck": [], "peer": []}
    with ExitStack() as stack:
        servers = {"Potluck": stack.enter_context(b.cluster(1, 2, clients, 2048)),
                   "peer": stack.enter_context(b.peer(2, 2048, clients))}

        def once(name: str):
            server = servers[name]
            one, eight = (total_rate(b.run(server, [b.request(SHORT, 64) for _ in range(n)]).streams)
                          for n in (1, clients))
            return one, eight, gap_once(b, server), together_once(b, server, clients, length)

        for _, name in b.rounds("peer", list(servers)):
            taken[name].append(once(name))
    figures = []
    for name, rounds in taken.items():
        ours = name == "Potluck"
        one, eight, gap_taken, together_taken = (list(values) for values in zip(*rounds))
        figures += [Figure(f"{name}: 1 client", "tok/s", one),
                    Figure(f"{name}: {clients} clients", "tok/s", eight),
                    Figure(f"{name}: {clients} clients ÷ 1", "", over(eight, one), 3.0 if ours else None)]
        figures += gap_figures(name, gap_taken, 0.25 if ours else None)
        figures += together_figures(name, together_taken, clients, length, AS_IF_ALONE if ours else None)
    return figures


SUITES = {f.__name__: f for f in (prefill, decode, paced, gap, together, overload, peer)}
