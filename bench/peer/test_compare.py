"""What compare.py makes of measurements, and that it drives two programs in turn (small stand-ins)."""
import contextlib
import io
import json
import stat
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import compare  # noqa: E402
import figures  # noqa: E402
import processes  # noqa: E402


def make_round(pp=300.0, tg=50.0, row=20.0, peer_pp=2.0, foreign=0.0):
    return {"potluck": {"pp512": pp, "tg64": tg, "rows": {"8": row}},
            "peer": {("pp", 512): peer_pp, ("tg", 64): 2.0, ("verify", 8): 0.1, ("step", 8): 0.06},
            "foreign_cores": foreign}


class Figures(unittest.TestCase):
    def test_ratios_are_of_rounds_and_say_how_many_times_as_fast(self):
        rounds = [make_round(), make_round(pp=600.0, peer_pp=1.0), make_round(row=10.0)]
        pp, tg, verify, step = figures.speed_figures(rounds, 512, 64, [8])
        self.assertEqual(pp.theirs, [256.0, 512.0, 256.0])
        self.assertAlmostEqual(pp.ratios()[0], 300 / 256)
        self.assertAlmostEqual(pp.ratios()[1], 600 / 512)
        self.assertEqual([tg.name, tg.unit, tg.theirs[0]], ["tg64", "tok/s", 32.0])
        for ratio, expected in zip(verify.ratios(), [5, 5, 10], strict=True):
            self.assertAlmostEqual(ratio, expected)  # milliseconds: less is faster
        self.assertAlmostEqual(step.ratios()[0], 3)

    def test_the_median_ratio_is_not_the_ratio_of_medians(self):
        figure = figures.Figure("tg64", "tok/s", True, [10.0, 20.0, 60.0], [10.0, 10.0, 20.0])
        self.assertEqual(figures.with_range(figure.ratios()), "2.00 (1.00..3.00)")

    def test_what_was_not_measured_is_left_out(self):
        self.assertEqual([f.name for f in figures.speed_figures([make_round()], 0, 64, [])], ["tg64"])

    def test_the_quietest_rounds_count_in_their_order(self):
        rounds = [{"foreign_cores": c, "n": n} for n, c in enumerate([0.5, 0.1, 0.9, 0.0])]
        self.assertEqual([r["n"] for r in figures.quietest(rounds, 2)], [1, 3])
        rounds[2]["foreign_cores"] = None
        self.assertEqual([r["n"] for r in figures.quietest(rounds, 2)], [0, 1])

    def test_tables(self):
        result = {"file": "a.gguf", "threads": 2, "rounds": [make_round()],
                  "figures": figures.speed_figures([make_round()], 512, 64, [8])}
        lines = figures.speed_table([result]).splitlines()
        self.assertEqual(len({line.count("|") for line in lines}), 1)
        self.assertEqual(lines[3], "| a.gguf | 2 | tg64 | tok/s | 50.0 | 32.0 | 1.56 (1.56..1.56) |")
        self.assertRegex(figures.other_work([result], 0.25), r"0\.00 in the worst\.$")
        result["rounds"] = [make_round(foreign=0.5)]
        self.assertIn("NOT QUIET", figures.other_work([result], 0.25))
        self.assertEqual(figures.plain(result)["figures"][1]["times_as_fast"]["median"], 50 / 32)
        json.dumps(figures.plain(result))

    def test_kept_shares(self):
        rounds = [{"potluck": {"quiet": 50.0, "busy": 40.0}, "peer": {"quiet": 40.0, "busy": 1.0},
                   "foreign_cores": None}]
        self.assertEqual(figures.kept_shares(rounds), {"potluck": [0.8], "peer": [0.025]})
        result = {"file": "a", "threads": 2, "rounds": rounds}
        self.assertIn("| a | 2 | peer | 40.0 | 1.00 | 0.03", figures.neighbour_table([result]))
        self.assertIn("not known", figures.other_work([result], 0.25))
        json.dumps(figures.plain(result))

    def test_memory(self):
        result = {"file": "a", "threads": 1, "context": 64, "file_bytes": 1e9, "potluck": 5e8, "peer": 2e9}
        self.assertIn("| 1.00 | 0.50 | 2.00 | 4.00 |", figures.memory_table([result]))


POTLUCK = """#!{python}
import json, sys
a = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if a["--model"].endswith("bad.gguf"):
    sys.exit("potluck: what a file")
rows = {{n: 5.0 for n in a["--rows"].split(",")}}
limits = None if "--no-limits" in sys.argv else {{"threads": 2}}
print(json.dumps({{"pp" + a["--pp"]: 100.0, "tg" + a["--tg"]: 10.0, "rows": rows, "limits": limits}}))
"""
PEER = """#!{python}
import json, sys
def say(**o): print(json.dumps(o), flush=True)
say(op="ready", threads=2)
for line in sys.stdin:
    c = json.loads(line)
    if c["op"] == "memory": say(op="memory", peak_rss_bytes=1000000)
    elif c["n"] == 13: say(error="13 is not liked")
    else: say(op=c["op"], n=c["n"], seconds=[0.1, 0.2, 0.4])
"""
NATIVE = """#!{python}
import json, sys
a = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert a["-rtr"] == "1" and a["-o"] == "json"
say = lambda p, n, ns: {{"n_prompt": p, "n_gen": n, "samples_ns": [9 * ns, ns, ns]}}
print(json.dumps([say(int(p), 0, int(p) * 10**7) for p in a["-p"].split(",")]
                 + [say(0, int(a["-n"]), 2 * 10**9)]))
"""


class Runs(unittest.TestCase):
    """The whole script with stand-ins for both programs."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for name, text in (("potluck", POTLUCK), ("node", PEER), ("llama-bench", NATIVE)):
            file = self.folder / name
            file.write_text(text.format(python=sys.executable), encoding="utf-8")
            file.chmod(file.stat().st_mode | stat.S_IXUSR)
        for name in ("good.gguf", "bad.gguf"):
            (self.folder / name).write_bytes(b"GGUF")

    def run_compare(self, *arguments, file="good.gguf"):
        out, errors = io.StringIO(), io.StringIO()
        line = ["compare.py", "--potluck", str(self.folder / "potluck"), "--node", str(self.folder / "node"),
                "--runs", "2", "--quiet", "100", *arguments, str(self.folder / file)]
        with mock.patch.object(sys, "argv", line), contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(errors):
            code = compare.main()
        return code, out.getvalue(), errors.getvalue()

    def test_speed(self):
        code, out, errors = self.run_compare("--threads", "2,1", "--rows", "1,8")
        self.assertEqual(code, 0, errors)
        self.assertIn("| good.gguf | 2 | pp512 | tok/s | 100.0 | 2560 | 0.04 (0.04..0.04) |", out)
        self.assertIn("| good.gguf | 1 | 8 rows, logits | ms | 5.00 | 200 | 40.00 (40.00..40.00) |", out)

    def test_a_native_peer(self):
        code, out, errors = self.run_compare("--native", str(self.folder / "llama-bench"),
                                             "--native-flags=-rtr 1", "--rows", "1,8")
        self.assertEqual(code, 0, errors)
        self.assertIn("| good.gguf | 2 | pp512 | tok/s | 100.0 | 100.0 | 1.00 (1.00..1.00) |", out)
        self.assertIn("| good.gguf | 2 | tg64 | tok/s | 10.0 | 32.0 | 0.31 (0.31..0.31) |", out)
        self.assertIn("| good.gguf | 2 | 8 rows, peer without | ms | 5.00 | 80.0 | 16.00", out)
        self.assertNotIn("rows, logits", out)
        self.assertIn("Peer: llama-bench -rtr 1.", out)

    def test_speed_as_json(self):
        code, out, errors = self.run_compare("--json", "--pp", "0")
        self.assertEqual(code, 0, errors)
        said = json.loads(out)
        self.assertIn("node-llama-cpp 3.", said["peer"])
        self.assertEqual(said["results"][0]["limits"], {"threads": 2})
        self.assertEqual(said["results"][0]["figures"][0]["name"], "tg64")

    def test_neighbour(self):
        code, out, errors = self.run_compare("--neighbour")
        self.assertEqual(code, 0, errors)
        self.assertIn("| good.gguf | 2 | potluck | 10.0 | 10.0 | 1.00 (1.00..1.00) |", out)

    def test_memory(self):
        code, out, errors = self.run_compare("--memory", "--context", "64", "--json")
        self.assertEqual(code, 0, errors)
        result = json.loads(out)["results"][0]
        self.assertEqual([result["context"], result["file_bytes"], result["peer"]], [64, 4, 1000000])
        self.assertGreater(result["potluck"], 1 << 20)

    def test_failures_say_whose_they_are(self):
        code, _, errors = self.run_compare(file="bad.gguf")
        self.assertEqual(code, 1)
        self.assertIn("what a file", errors)
        code, _, errors = self.run_compare("--pp", "13")
        self.assertEqual(code, 1)
        self.assertIn("the peer: 13 is not liked", errors)

    def test_rounds_alternate_who_is_first(self):
        seen = []
        for index in range(3):
            compare.in_turn(index, lambda: seen.append("a"), lambda: seen.append("b"))
        self.assertEqual("".join(seen), "abbaab")

    def test_noisy_rounds_are_taken_again_but_not_for_ever(self):
        code, _, errors = self.run_compare("--quiet", "-1")
        self.assertEqual(code, 0, errors)
        known = processes.busy_seconds() is not None
        self.assertEqual(errors.count("round"), 4 if known else 2)


if __name__ == "__main__":
    unittest.main()
