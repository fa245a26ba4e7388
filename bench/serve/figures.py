"""What is made of the streams: rates, gaps, ratios of one round and verdicts. Pure functions."""
import json
from dataclasses import dataclass
from statistics import median

from client import Stream


def total_rate(streams: list[Stream]) -> float:
    """Tokens per second over all streams while all of them decode: from the last first token to the
    first last one. Events may carry several tokens; each counts for as many as its stream's mean."""
    start = max(s.times[0] for s in streams)
    end = min(s.times[-1] for s in streams)
    if end <= start:
        raise ValueError("the answers never overlapped: ask for more tokens")
    tokens = sum((s.made or len(s.times)) / len(s.times) * sum(start < t <= end for t in s.times)
                 for s in streams)
    return tokens / (end - start)


def gaps(stream: Stream, start: float, end: float) -> list[float]:
    """Seconds between two tokens of a stream, of all gaps that reach into [start, end]."""
    return [b - a for a, b in zip(stream.times, stream.times[1:]) if b >= start and a <= end]


def rows_needed(clients: list[int], stages: int) -> list[int]:
    """Of which rows c must be known for what follows."""
    return sorted({rows for n in clients for rows in (n, max(n // stages, 1), max(-(-n // stages), 1))})


def of_a_batch(c: dict[int, float], n: int, stages: int) -> float:
    """c(n / stages): what one of `stages` batches, as equal as can be, takes on average."""
    if n < stages:
        return c[1]
    larger = n % stages
    return ((stages - larger) * c[n // stages] + larger * c[-(-n // stages)]) / stages


def allowed_over_one_worker(c: dict[int, float], n: int, stages: int) -> float:
    """The most that `stages` equal stages can gain over one worker: a batch has n / stages rows and
    takes its part of c, and while one batch is on one stage the others are on the others."""
    return c[n] / of_a_batch(c, n, stages)


def allowed_over_one_process(c: dict[int, float], n: int, stages: int) -> float:
    """The same beside one process with the threads of all stages, if threads help it perfectly."""
    return allowed_over_one_worker(c, n, stages) / stages


@dataclass
class Figure:
    name: str
    unit: str
    values: list[float]  # one for each round
    target: float | None = None
    at_least: bool = True  # else at most
    note: str = ""

    def verdict(self) -> str:
        if self.target is None:
            return ""
        value = median(self.values)
        return "pass" if (value >= self.target if self.at_least else value <= self.target) else "FAIL"


def against_the_curve(name: str, form: str, measured: list[float], allowed: list[float]) -> list[Figure]:
    """A ratio of two servers, and how much it is of what the curve of the same round allows."""
    return [Figure(name, "", measured),
            Figure(f"{name} ÷ {form}", "", [m / a for m, a in zip(measured, allowed, strict=True)], 0.9,
                   note=f"measured {number(median(measured))}, allowed {number(median(allowed))}")]


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 200 else f"{value:.1f}" if value >= 20 else f"{value:.3g}"


def table(figures: list[Figure]) -> str:
    lines = [["figure", "unit", "median (min..max)", "target", "verdict", ""], ["---"] * 6]
    for f in figures:
        target = "" if f.target is None else ("≥ " if f.at_least else "≤ ") + number(f.target)
        lines.append([f.name, f.unit, f"{number(median(f.values))} ({number(min(f.values))}.."
                      f"{number(max(f.values))})", target, f.verdict(), f.note])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def lines(suite: str, figures: list[Figure]) -> str:
    """One JSON object a line, for people and for `grep`: a ratio and its spread beside its target."""
    def line(f: Figure) -> str:
        said = {"suite": suite, "figure": f.name, "unit": f.unit, "median": median(f.values),
                "min": min(f.values), "max": max(f.values), "rounds": len(f.values),
                "target": f.target, "verdict": f.verdict(), "note": f.note}
        return json.dumps({key: round(value, 4) if isinstance(value, float) else value
                           for key, value in said.items() if value not in (None, "")}, ensure_ascii=False)

    return "\n".join(line(f) for f in figures)


def plain(figures: list[Figure]) -> list[dict]:
    return [{"name": f.name, "unit": f.unit, "median": median(f.values), "min": min(f.values),
             "max": max(f.values), "rounds": f.values, "target": f.target,
             "at_least": f.at_least, "verdict": f.verdict(), "note": f.note} for f in figures]
