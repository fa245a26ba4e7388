"""What is made of the measurements: medians, ratios of one round and tables. Pure functions."""
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Figure:
    """One figure of both programs, a pair for each round. `rate`: more is better; else less is."""
    name: str
    unit: str
    rate: bool
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def ratios(self) -> list[float]:
        """How many times as fast Potluck is, round by round."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return [a / b if self.rate else b / a for a, b in pairs]


def spread(values: list[float]) -> dict:
    return {"median": median(values), "min": min(values), "max": max(values)}


def quietest(rounds: list[dict], wanted: int) -> list[dict]:
    """The `wanted` rounds with the least other work on the machine, in the order they were taken."""
    if any(r.get("foreign_cores") is None for r in rounds):
        return rounds[:wanted]
    by_noise = sorted(range(len(rounds)), key=lambda i: rounds[i]["foreign_cores"])
    return [rounds[i] for i in sorted(by_noise[:wanted])]


def speed_figures(rounds: list[dict], pp: int, tg: int, rows: list[int]) -> list[Figure]:
    """`potluck` of a round is what `potluck bench --json` said, `peer` maps (op, n) to seconds. A
    native peer has no figure with logits."""
    out = []

    def add(name, unit, rate, ours, theirs):
        out.append(Figure(name, unit, rate, [ours(r["potluck"]) for r in rounds],
                          [theirs(r["peer"]) for r in rounds]))

    for op, n in (("pp", pp), ("tg", tg)):
        if n > 0:
            add(f"{op}{n}", "tok/s", True, lambda p, key=f"{op}{n}": p[key],
                lambda q, op=op, n=n: n / q[op, n])
    for n in rows:
        ours = (lambda p, n=n: p["rows"][str(n)])
        if all(("verify", n) in r["peer"] for r in rounds):
            add(f"{n} rows, logits", "ms", False, ours, lambda q, n=n: 1e3 * q["verify", n])
        add(f"{n} rows, peer without", "ms", False, ours, lambda q, n=n: 1e3 * q["step", n])
    return out


def kept_shares(rounds: list[dict]) -> dict:
    """What is left of the decoding speed beside a busy loop, by program and round."""
    return {who: [r[who]["busy"] / r[who]["quiet"] for r in rounds] for who in ("potluck", "peer")}


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 200 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def with_range(values: list[float]) -> str:
    s = spread(values)
    return f"{s['median']:.2f} ({s['min']:.2f}..{s['max']:.2f})"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speed_table(results: list[dict]) -> str:
    rows = []
    for result in results:
        for f in result["figures"]:
            rows.append([result["file"], str(result["threads"]), f.name, f.unit,
                         number(median(f.ours)), number(median(f.theirs)), with_range(f.ratios())])
    return markdown(
        ["file", "threads", "figure", "unit", "Potluck", "peer", "times as fast (min..max)"], rows)


def neighbour_table(results: list[dict]) -> str:
    rows = []
    for result in results:
        rounds, kept = result["rounds"], kept_shares(result["rounds"])
        for who in ("potluck", "peer"):
            speeds = [number(median(r[who][state] for r in rounds)) for state in ("quiet", "busy")]
            rows.append([result["file"], str(result["threads"]), who, *speeds, with_range(kept[who])])
    return markdown(["file", "threads", "program", "quiet tok/s", "busy tok/s", "kept (min..max)"], rows)


def memory_table(results: list[dict]) -> str:
    rows = [[r["file"], str(r["threads"]), str(r["context"]), f"{r['file_bytes'] / 1e9:.2f}",
             f"{r['potluck'] / 1e9:.2f}", f"{r['peer'] / 1e9:.2f}", f"{r['peer'] / r['potluck']:.2f}"]
            for r in results]
    return markdown(["file", "threads", "context", "file GB", "Potluck peak GB", "peer peak GB",
                     "peer / Potluck"], rows)


def other_work(results: list[dict], quiet: float) -> str:
    """A line on how quiet the machine was while the rounds that count were taken."""
    seen = [r["foreign_cores"] for result in results for r in result["rounds"]]
    if not seen or any(cores is None for cores in seen):
        return "Other work on the machine: not known here."
    return (f"Other work on the machine: {median(seen):.2f} cores in the median round, "
            f"{max(seen):.2f} in the worst."
            + (" NOT QUIET: these ratios are of a disturbed machine." if max(seen) > quiet else ""))


def plain(result: dict) -> dict:
    """A result for JSON."""
    out = {key: value for key, value in result.items() if key not in ("figures", "rounds")}
    if "figures" in result:
        out["figures"] = [{"name": f.name, "unit": f.unit, "potluck": spread(f.ours),
                           "peer": spread(f.theirs), "times_as_fast": spread(f.ratios())}
                          for f in result["figures"]]
    elif "rounds" in result:
        out["kept"] = {who: spread(values) for who, values in kept_shares(result["rounds"]).items()}
        out["rounds"] = result["rounds"]
    if "rounds" in result:
        out["foreign_cores"] = [r["foreign_cores"] for r in result["rounds"]]
    return out
