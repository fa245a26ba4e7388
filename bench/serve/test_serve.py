"""What serve.py makes of streams, its clients against a small server, and whole runs with a stand-in."""
import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import client  # noqa: E402
import cores  # noqa: E402
import figures  # noqa: E402
import serve  # noqa: E402
import suites  # noqa: E402
from client import Request, Stream  # noqa: E402


class Figures(unittest.TestCase):
    def test_total_rate_counts_only_while_all_decode(self):
        a = Stream(0, [1.0, 2.0, 3.0, 4.0], 4)
        b = Stream(0, [2.0, 3.0, 4.0, 5.0, 6.0], 5)
        self.assertAlmostEqual(figures.total_rate([a, b]), 2.0)  # in (2, 4]: two of each
        self.assertAlmostEqual(figures.total_rate([a]), 1.0)
        with self.assertRaisesRegex(ValueError, "never overlapped"):
            figures.total_rate([a, Stream(0, [4.0, 5.0], 2)])

    def test_an_event_of_several_tokens_counts_for_them(self):
        self.assertAlmostEqual(figures.total_rate([Stream(0, [1.0, 2.0, 3.0], 6)]), 2.0)

    def test_gaps_reach_into_the_window(self):
        stream = Stream(0, [1.0, 2.0, 5.0, 5.5])
        self.assertEqual(figures.gaps(stream, 0, 9), [1.0, 3.0, 0.5])
        self.assertEqual(figures.gaps(stream, 3.0, 4.0), [3.0])  # nothing came meanwhile

    def test_what_the_curve_allows(self):
        c = {1: 20.0, 2: 21.0, 4: 24.0, 8: 32.0, 16: 48.0, 32: 80.0}
        self.assertAlmostEqual(figures.allowed_over_one_worker(c, 8, 2), 32 / 24)
        self.assertAlmostEqual(figures.allowed_over_one_process(c, 8, 2), 32 / 48)
        self.assertAlmostEqual(figures.allowed_over_one_worker(c, 4, 4), 24 / 20)
        self.assertAlmostEqual(figures.allowed_over_one_worker(c, 1, 2), 1)
        # 8 clients over three stages: batches of 3, 3 and 2 rows.
        self.assertEqual(figures.rows_needed([4, 8], 3), [1, 2, 3, 4, 8])
        line = {n: 20.0 + n for n in range(1, 9)}
        self.assertAlmostEqual(figures.of_a_batch(line, 8, 3), 20 + 8 / 3)
        self.assertAlmostEqual(figures.of_a_batch(line, 2, 3), 21)

    def test_a_ratio_is_told_beside_what_the_curve_of_its_round_allows(self):
        plain, share = figures.against_the_curve("two ÷ one", "c", [1.8, 1.5, 1.6], [2.0, 1.5, 2.0])
        self.assertEqual((plain.values, plain.target), ([1.8, 1.5, 1.6], None))
        self.assertEqual(share.values, [0.9, 1.0, 0.8])
        self.assertEqual((share.name, share.target, share.verdict()), ("two ÷ one ÷ c", 0.9, "pass"))
        self.assertEqual(share.note, "measured 1.6, allowed 2")
        told = [json.loads(line) for line in figures.lines("decode", [plain, share]).splitlines()]
        self.assertEqual(told[1], {"suite": "decode", "figure": "two ÷ one ÷ c", "median": 0.9, "min": 0.8,
                                   "max": 1.0, "rounds": 3, "target": 0.9, "verdict": "pass",
                                   "note": "measured 1.6, allowed 2"})

    def test_verdicts_are_of_medians_and_know_their_direction(self):
        self.assertEqual(figures.Figure("a", "", [1, 5, 2], 2.0).verdict(), "pass")
        self.assertEqual(figures.Figure("a", "", [1, 5, 1], 2.0).verdict(), "FAIL")
        self.assertEqual(figures.Figure("a", "s", [1, 5, 2], 2.0, False).verdict(), "pass")
        self.assertEqual(figures.Figure("a", "s", [3, 5, 2], 2.0, False).verdict(), "FAIL")
        self.assertEqual(figures.Figure("a", "s", [3]).verdict(), "")
        lines = figures.table([figures.Figure("a", "s", [3.0, 1.0, 250.0], 2.0, False, "why")]).splitlines()
        self.assertEqual(lines[2], "| a | s | 3 (1..250) | ≤ 2 | FAIL | why |")
        self.assertEqual(len({line.count("|") for line in lines}), 1)
        json.dumps(figures.plain([figures.Figure("a", "s", [3.0])]))

    def test_prompts_are_never_the_same(self):
        bench = suites.Bench(mock.Mock(seed=1, rounds=3, pin=False), lambda _: None)
        self.assertNotEqual(bench.prompt(16), bench.prompt(16))
        self.assertEqual([s for _, s in bench.rounds("x", ["a", "b"])], list("abbaab"))


class Ideal:
    """A server whose steps take c(rows) = 20 ms and 1 ms a row, less what more workers save."""

    def __init__(self, workers: int, threads: int):
        self.workers, self.threads, self.port = workers, threads, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, requests):
        rows = len(requests) / len({r.port for r in requests})
        interval = (20 + max(rows / self.workers, 1)) / 1e3 / self.threads
        return client.Load([Stream(0, [interval * (i + 1) for i in range(r.tokens)], r.tokens)
                            for r in requests], 0.25)


class IdealBench(suites.Bench):
    def cluster(self, workers, threads, slots, context, *more):
        server = Ideal(workers, threads)
        server.port = self.random.random()
        return server


class Decode(unittest.TestCase):
    def test_ideal_servers_reach_what_the_curve_allows(self):
        options = mock.Mock(seed=1, rounds=2, clients=[1, 4, 8], pin=False, flags=[])
        with mock.patch.object(suites, "curve", lambda b, threads, rows: {n: 20.0 + n for n in rows}):
            bench = IdealBench(options, lambda _: None)
            found = {f.name: f for f in suites.decode(bench)}
        for name, value, target in (
                ("c(4), one thread", 24, None),
                ("8 clients: one worker ÷ what c allows", 1, None),
                ("8 clients: two workers ÷ what c allows", 1, None),
                ("8 clients: two workers ÷ one worker", 28 / 24, None),
                ("8 clients: two workers ÷ one worker ÷ c(N)/c(N/S)", 1, 0.9),
                ("8 clients: two workers ÷ one process", 28 / 48, None),
                ("8 clients: two workers ÷ one process ÷ c(N)/(S·c(N/S))", 1, 0.9),
                ("8 clients: two servers apart ÷ one worker", 28 / 24, None),
                ("one process: 8 clients ÷ 1 client", 8 * 21 / 28, 3)):
            figure = found[name]
            self.assertEqual(len(figure.values), 2)
            self.assertAlmostEqual(figure.values[0], value, msg=name)
            self.assertEqual(figure.target is None, target is None, name)
            if target is not None:
                self.assertAlmostEqual(figure.target, target, msg=name)
                self.assertEqual(figure.verdict(), "pass")
        self.assertNotIn("1 clients, two servers apart", found)
        self.assertEqual(bench.client_cores, 0.25)


class IdealPaced(IdealBench):
    """Workers that keep to their pace, in as many batches as there are stages."""

    def paced(self, workers, slots, pace):
        base, per_row = (float(part.removesuffix("ms")) for part in pace.split("+"))
        server = Ideal(workers, 1)

        def run(requests):
            rows = len(requests) / workers
            interval = workers * (base + per_row * rows) / 1e3
            return client.Load([Stream(0, [interval * (i + 1) for i in range(r.tokens)], r.tokens)
                                for r in requests], 0.0)

        server.run = run
        return server


class Paced(unittest.TestCase):
    def test_ideal_pipelines_reach_what_the_measured_curve_allows(self):
        options = mock.Mock(seed=1, rounds=3, clients=[1, 4, 8], stages=[3, 4], pin=False)
        found = {f.name: f for f in suites.paced(IdealPaced(options, lambda _: None))}
        curve = found["c(2), one paced worker"]
        self.assertEqual((curve.values, curve.note), ([48.0] * 3, "its pace is 48 ms"))
        self.assertAlmostEqual(found["8 clients: 4 paced workers ÷ one paced worker"].values[0], 18 / 12)
        for stages in (3, 4):
            for n in (4, 8):
                for other in ("one paced worker ÷ c(N)/c(N/S)", "one paced process ÷ c(N)/(S·c(N/S))"):
                    share = found[f"{n} clients: {stages} paced workers ÷ {other}"]
                    self.assertEqual(share.target, 0.9)
                    for value in share.values:
                        self.assertAlmostEqual(value, 1)
        self.assertNotIn("1 clients, 4 paced workers", found)


class WhoseCores(unittest.TestCase):
    def test_real_cores_come_before_their_second_threads(self):
        with tempfile.TemporaryDirectory() as folder:
            for cpu, siblings in enumerate(("0,4", "1,5", "2-3", "2-3", "0,4", "1,5")):
                place = Path(folder) / f"cpu{cpu}" / "topology"
                place.mkdir(parents=True)
                (place / "thread_siblings_list").write_text(siblings + "\n", encoding="ascii")
            self.assertEqual(cores.in_order({0, 1, 2, 3, 4, 5}, Path(folder)), [0, 1, 2, 3, 4, 5])
            self.assertEqual(cores.in_order({3, 4, 5, 1}, Path(folder)), [1, 3, 4, 5])
            self.assertEqual(cores.in_order({0, 4, 5}, Path(folder)), [0, 5, 4])
        self.assertEqual(cores.in_order({7, 3}, Path("/nowhere")), [3, 7])

    def test_servers_do_not_share_cores_as_long_as_there_are_enough(self):
        many = cores.Cores(list(range(16)))
        self.assertEqual(many.clients, {0})
        self.assertEqual(many.take(2), {1, 2, 3})  # and one for its coordinator
        self.assertEqual(many.take(1, coordinator=False), {4})
        self.assertEqual(many.take(10), set(range(5, 16)))
        self.assertEqual(many.take(1), {1, 2})
        few = cores.Cores([0, 1])
        self.assertEqual([few.take(1), few.take(1), few.take(2)], [{0}, {1}, {0, 1}])
        self.assertEqual(few.clients, {0, 1})
        self.assertTrue(few.has(2) and many.has(14))
        self.assertFalse(few.has(3) or many.has(15))
        with self.assertRaisesRegex(client.Failure, "3 cores are needed at once, this machine has 2"):
            few.take(3)

    def test_what_is_started_keeps_to_its_cores(self):
        before = os.sched_getaffinity(0)
        with cores.kept_to({min(before)}):
            said = subprocess.run([sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"],
                                  capture_output=True, text=True, check=True).stdout
        self.assertEqual(said.strip(), f"{{{min(before)}}}")
        self.assertEqual(os.sched_getaffinity(0), before)


class Server(ThreadingHTTPServer):
    request_queue_size = 256  # a crowd connects at once


def event(text: str, finish: str = "null") -> bytes:
    return (f'data: {{"id":"c","choices":[{{"index":0,"text":"{text}","finish_reason":{finish}}}],'
            '"usage":null}\n\n').encode()


class Handler(BaseHTTPRequestHandler):
    """Streams as many tokens as are asked for; prompt [13] is refused, [14] gets one too few, and
    [15] goes on until somebody hangs up."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        kind = asked["prompt"][0]
        if kind == 13:
            self.send_error(429)
            return
        self.send_response(200)
        self.end_headers()
        made = asked["max_tokens"] - (kind == 14)
        try:
            while kind == 15:
                self.wfile.write(event("x"))
            for _ in range(made):
                message = event("x")
                # In two pieces, cut within what is counted.
                self.wfile.write(message[:40])
                self.wfile.flush()
                self.wfile.write(message[40:])
                self.wfile.flush()
            usage = {"prompt_tokens": 1, "completion_tokens": made, "total_tokens": 1 + made}
            self.wfile.write(event("", '"length"'))
            self.wfile.write(f'data: {{"choices":[],"usage":{json.dumps(usage, separators=(",", ":"))}}}\n\n'
                             "data: [DONE]\n\n".encode())
        except (BrokenPipeError, ConnectionResetError):
            self.server.hung_up += 1

    def log_message(self, *_):
        pass


class Clients(unittest.TestCase):
    def setUp(self):
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.asked, self.server.hung_up = [], 0
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)

    def run_client(self, *requests):
        return client.run(list(requests), self.server.server_address[1])

    def test_every_token_has_its_time(self):
        load = self.run_client(Request([1, 2], 5), Request([3], 7))
        self.assertEqual([len(s.times) for s in load.streams], [5, 7])
        self.assertEqual([s.made for s in load.streams], [5, 7])
        for s in load.streams:
            self.assertEqual(s.times, sorted(s.times))
            self.assertGreaterEqual(s.first(), 0)
        self.assertGreaterEqual(load.client_cores, 0)
        asked = self.server.asked[0]
        self.assertTrue(asked["stream"] and asked["ignore_eos"])

    def test_one_begins_after_another_and_hangs_up_with_it(self):
        load = self.run_client(Request([15], 10 ** 6, until=1), Request([2], 3, after=(0, 4)))
        endless, late = load.streams
        self.assertIsNone(endless.made)
        self.assertGreaterEqual(late.sent, endless.times[3])
        self.assertEqual(late.made, 3)

    def test_refusals_and_short_answers_are_failures(self):
        with self.assertRaisesRegex(client.Failure, "429"):
            self.run_client(Request([13], 1))
        refused, answered = self.run_client(Request([13], 1, may_be_refused=True),
                                            Request([1], 2, may_be_refused=True)).streams
        self.assertTrue(refused.refused and not answered.refused)
        self.assertEqual(answered.made, 2)
        with self.assertRaisesRegex(client.Failure, "5 tokens were asked for, 4 came"):
            self.run_client(Request([14], 5))
        with self.assertRaisesRegex(client.Failure, "waited for one"):
            self.run_client(Request([1], 2), Request([1], 2, after=(0, 9)))


POTLUCK = """#!{python}
import json, signal, sys
sys.path.insert(0, {here!r})
import test_serve
if sys.argv[1] == "bench":
    rows = sys.argv[sys.argv.index("--rows") + 1].split(",")
    print(json.dumps({{"rows": {{n: 5.0 for n in rows}}}}))
    sys.exit()
if "--bad" in sys.argv:
    sys.exit("potluck: what a flag")
server = test_serve.Server(("127.0.0.1", 0), test_serve.Handler)
server.asked, server.hung_up = [], 0
print("ready: send chat requests to http://127.0.0.1:%d/v1/chat" % server.server_address[1], flush=True)
if "--late" in sys.argv:
    print("warning worker: a batch of 1 rows took 9 us, longer than its pace 1us", flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server.serve_forever()
"""


class Runs(unittest.TestCase):
    """The whole script with a stand-in for the program."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.program = Path(folder.name) / "potluck"
        self.program.write_text(POTLUCK.format(python=sys.executable, here=str(HERE)), encoding="utf-8")
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    def run_serve(self, *arguments):
        out, errors = io.StringIO(), io.StringIO()
        line = ["serve.py", "--potluck", str(self.program), "--model", "m.gguf", "--rounds", "1", *arguments]
        with mock.patch.object(sys, "argv", line), contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(errors):
            code = serve.main()
        return code, out.getvalue(), errors.getvalue()

    def test_tables_and_verdicts(self):
        code, out, errors = self.run_serve("--suites", "prefill,together")
        self.assertIn(code, (0, 3), errors)
        self.assertIn("| two workers ÷ one |", out)
        self.assertIn("| one process: first of 8 ÷ alone |", out)
        self.assertIn("of 2 targets met", out)
        self.assertRegex(out, r"Other work on the machine, in cores: prefill \S+, together ")

    def test_memory_after_crowds(self):
        code, out, errors = self.run_serve("--suites", "overload", "--rounds", "2")
        self.assertIn(code, (0, 3), errors)
        self.assertIn("| of 200 clients on 8 slots, answered in full |  | 200 (200..200) |", out)
        self.assertRegex(out, r"\| ÷ after the first \|  \| [0-9.]+ ")

    def test_json(self):
        code, out, errors = self.run_serve("--suites", "prefill", "--json")
        self.assertIn(code, (0, 3), errors)
        said = json.loads(out)
        self.assertEqual(len(said["suites"]["prefill"]), 6)
        self.assertEqual(code, 3 if said["missed"] else 0)

    def test_lines_come_for_each_suite_though_another_fails(self):
        code, out, errors = self.run_serve("--suites", "peer,together", "--lines", "--pin",
                                           "--node", "/nowhere")
        self.assertEqual(code, 1)
        self.assertIn("serve.py: peer: ", errors)
        told = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        self.assertEqual({line["suite"] for line in told}, {"together"})
        self.assertIn("one process: first of 8 ÷ alone", [line["figure"] for line in told])

    def test_pinned_servers_are_told_so(self):
        code, _, errors = self.run_serve("--suites", "together", "--pin", "--flags=--bad")
        self.assertEqual(code, 1)
        self.assertRegex(errors, r"up --port 0 .* --pin: not ready")

    def test_paced_workers_need_no_cores_of_their_own(self):
        with mock.patch.object(suites.os, "sched_getaffinity", lambda _: {0, 1}):
            bench = suites.Bench(mock.Mock(seed=1, flags=[], paced_model=None, potluck=str(self.program),
                                           pin=True), lambda _: None)
        with bench.paced(4, 8, "1ms") as server:
            self.assertNotIn("--pin", server.command)
            self.assertIn("--speculation off", " ".join(server.command))
        with bench.paced(2, 8, "1ms") as server:
            self.assertIn("--pin", server.command)

    def test_a_disturbed_machine_is_named(self):
        self.assertNotIn("NOT QUIET", serve.other_work({"gap": 0.1, "decode": None}))
        self.assertIn("gap 0.90, decode not known. NOT QUIET",
                      serve.other_work({"gap": 0.9, "decode": None}))

    def test_failures_say_whose_they_are(self):
        code, _, errors = self.run_serve("--suites", "together", "--flags=--bad")
        self.assertEqual(code, 1)
        self.assertIn("what a flag", errors)
        code, _, errors = self.run_serve("--suites", "together", "--flags=--late")
        self.assertEqual(code, 1)
        self.assertIn("could not keep its pace", errors)


if __name__ == "__main__":
    unittest.main()
