#!/usr/bin/env python3
"""Takes away one guard after another and sees whether its scenario notices.

Works on a copy of the repository with a build folder of its own; only sim_test is built. For each
mutation of mutations.toml: change the copy, build, play the scenario until it fails, change it
back. Prints the rows of the table in docs/faults.md, and fails if a mutation was not noticed, does
not apply or does not build.

    tests/sim/mutations/check.py [--only NAME…] [--seeds 1-2400] [--folder build/mutations]
    tests/sim/mutations/check.py --fit     only whether each still fits the sources (a test)
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def files():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.splitlines()
    return [Path(f) for f in listed if (ROOT / f).is_file()]


def copy_to(folder):
    """Files that are the same keep their times, so that they are not compiled again."""
    wanted = set(files())
    for old in list(folder.rglob("*")):
        name = old.relative_to(folder)
        if old.is_file() and name not in wanted and name.parts[0] != "build":
            old.unlink()
    for file in wanted:
        here, there = ROOT / file, folder / file
        if there.exists() and there.read_bytes() == here.read_bytes():
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(here, there)


def changed(folder, mutation):
    """The texts of the mutation's files, before and with it."""
    before, after = {}, {}
    for change in mutation.get("change", [mutation]):
        file = folder / change["file"]
        text = after.get(file) or file.read_text()
        before.setdefault(file, text)
        if text.count(change["old"]) != 1:
            raise RuntimeError(f"{mutation['name']}: '{change['old']}' is "
                               f"{text.count(change['old'])} times in {change['file']}")
        after[file] = text.replace(change["old"], change["new"])
    return before, after


class Bench:
    def __init__(self, folder, seeds, jobs):
        # As in a checkout, so that ccache knows what it compiled there.
        self.source, self.build = folder, folder / "build" / "ci"
        self.seeds, self.jobs = seeds, jobs
        self.source.mkdir(parents=True, exist_ok=True)
        copy_to(self.source)
        self.env = dict(os.environ, CCACHE_BASEDIR=str(self.source), CCACHE_NOHASHDIR="1")
        if not (self.build / "build.ninja").exists():
            self.run(["cmake", "--preset", "ci"])

    def run(self, command):
        done = subprocess.run(command, cwd=self.source, env=self.env, capture_output=True,
                              text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])

    def make(self):
        self.run(["cmake", "--build", "--preset", "ci", "-j", str(self.jobs), "--target", "sim_test"])

    def play(self, scenario, seeds=None):
        """What was reported first; None if all was well."""
        name = scenario.replace("-", "_")
        env = dict(self.env, POTLUCK_SIM_SEED=seeds or self.seeds)
        done = subprocess.run([str(self.build / "bin" / "sim_test"),
                               f"--gtest_filter=*Scenarios.*/{name}"],
                              env=env, capture_output=True, text=True, timeout=170)
        if "[  PASSED  ] 1 test" in done.stdout and done.returncode == 0:
            return None
        if done.returncode < 0:
            words = done.stderr.strip().splitlines() or ["no word"]
            return f"ended by signal {-done.returncode}: {words[-1]}"
        reported = re.search(r", seed (\d+):\n +(.*)", done.stdout)
        if reported is None:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        return f"seed {reported[1]}: {reported[2]}"

    def change(self, mutation):
        """What was there before."""
        before, after = changed(self.source, mutation)
        self.restore(after)
        return before

    @staticmethod
    def restore(before):
        for file, text in before.items():
            file.write_text(text)


def row(*cells):
    """Of a table in Markdown."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of mutations; none: all")
    parser.add_argument("--fit", action="store_true", help="only see that each fits the sources")
    parser.add_argument("--seeds", default="1-2400", help="which scenarios share")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutations")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    mutations = tomllib.loads((HERE / "mutations.toml").read_text())["mutation"]
    unknown = set(options.only or []) - {m["name"] for m in mutations}
    if unknown:
        parser.error("no such mutation: " + ", ".join(sorted(unknown)))
    if options.fit:
        for mutation in mutations:
            changed(ROOT, mutation)
        return 0
    bench = Bench(options.folder, options.seeds, options.jobs)
    missed = 0
    print(row("scenario", "mutation", "guard", "first report"), "|---|---|---|---|", sep="\n")
    for mutation in mutations:
        if options.only and mutation["name"] not in options.only:
            continue
        try:
            before = bench.change(mutation)
            try:
                bench.make()
                reported = bench.play(mutation["scenario"], mutation.get("seeds"))
            finally:
                bench.restore(before)
        except RuntimeError as wrong:
            reported = None
            print(wrong, file=sys.stderr)
        missed += reported is None
        print(row(f"`{mutation['scenario']}`", f"`{mutation['name']}`", mutation["guard"],
                  reported or "NOT NOTICED"), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
