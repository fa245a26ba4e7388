"""Which cores each server keeps to, so that servers that work at once never share one."""
import os
import re
from contextlib import contextmanager
from pathlib import Path

from client import Failure

SPARE = 8  # with so many cores, clients and coordinators have their own too


def in_order(allowed: set[int], topology: Path = Path("/sys/devices/system/cpu")) -> list[int]:
    """The cores that may be used: one thread of each real core first, the others behind them."""
    def is_first(cpu: int) -> bool:
        try:
            text = (topology / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text(encoding="ascii")
        except OSError:
            return True
        siblings = set()
        for low, high in re.findall(r"(\d+)(?:-(\d+))?", text):
            siblings |= set(range(int(low), int(high or low) + 1))
        return cpu == min(siblings & allowed, default=cpu)

    return sorted(allowed, key=lambda cpu: (not is_first(cpu), cpu))


class Cores:
    """Hands out cores one after another, and again from the first when none is left."""

    def __init__(self, order: list[int]):
        self.spare = len(order) >= SPARE
        self.clients = {order[0]} if self.spare else set(order)
        self.order = order[1:] if self.spare else order
        self.taken = 0

    def has(self, threads: int) -> bool:
        return threads + self.spare <= len(self.order)

    def take(self, threads: int, coordinator: bool = True) -> set[int]:
        """Of one server: a core for each thread of its workers, and one for its coordinator."""
        count = threads + (coordinator and self.spare)
        if count > len(self.order):
            raise Failure(f"--pin: {count} cores are needed at once, this machine has {len(self.order)} "
                          "for them")
        if self.taken + count > len(self.order):
            self.taken = 0
        self.taken += count
        return set(self.order[self.taken - count:self.taken])


@contextmanager
def kept_to(cores: set[int] | None):
    """What is started within keeps to these cores."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
