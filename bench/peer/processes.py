"""The two programs that are compared, as child processes, and what disturbs them."""
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 1800  # for one command; a large model on a slow machine takes minutes


class Failure(Exception):
    """A program that is compared could not do what it was asked for."""


def busy_seconds() -> float | None:
    """Processor time of everything on the machine since its start; None where it is not told."""
    try:
        ticks = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(t) for t in ticks[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


@contextmanager
def time_limit(child: subprocess.Popen):
    """Ends the child if what is done within takes too long."""
    timer = threading.Timer(TIMEOUT_S, child.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class ForeignWork:
    """How many cores others kept busy while our programs ran: all work less the programs' own."""

    def __init__(self):
        self.busy, self.elapsed, self.own = 0.0, 0.0, 0.0
        self.known = True

    def measure(self, work):
        """Runs `work`, which returns its result and the processor time it took."""
        before, start = busy_seconds(), time.monotonic()
        result, own = work()
        after = busy_seconds()
        self.elapsed += time.monotonic() - start
        self.own += own
        if before is None or after is None:
            self.known = False
        else:
            self.busy += after - before
        return result

    def cores(self) -> float | None:
        if not self.known or self.elapsed == 0:
            return None
        return max(0.0, (self.busy - self.own) / self.elapsed)


def printed_json(command: list[str]) -> tuple:
    """The JSON that a command printed, and what its process used."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        errors = []
        reader = threading.Thread(target=lambda: errors.append(child.stderr.read()))
        reader.start()
        try:
            with time_limit(child):
                text = child.stdout.read()
        except BaseException:  # told to stop: not without the child
            child.kill()
            raise
        reader.join()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)  # as subprocess would have found it
    if child.returncode != 0:
        raise Failure(f"{' '.join(command)}: exit {child.returncode}: {errors[0].strip()}")
    try:
        return json.loads(text), usage
    except ValueError as error:
        raise Failure(f"{' '.join(command)}: printed no JSON: {error}") from error


def peak_bytes(usage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Peer:
    """peer.mjs, or another script, with one model loaded. Between commands it is stopped: it takes
    no time then."""

    def __init__(self, node: str, model: Path, threads: int, context: int, script: str = "peer.mjs",
                 more: list[str] = ()):
        # More threads of node's pool only disturb those of llama.cpp.
        environment = {**os.environ, "UV_THREADPOOL_SIZE": "1"}
        self.child = subprocess.Popen(
            [node, str(HERE / script), "--model", str(model), "--threads", str(threads),
             "--context", str(context), *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment)
        try:
            self.about = self._answer()
        except Failure:
            self.close()
            raise
        self._stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _stop(self):
        self.child.send_signal(signal.SIGSTOP)

    def _answer(self) -> dict:
        with time_limit(self.child):
            line = self.child.stdout.readline()
        if not line:
            raise Failure("the peer ended; its message is above (README.md says how to install it)")
        answer = json.loads(line)
        if "error" in answer:
            raise Failure(f"the peer: {answer['error']}")
        return answer

    def ask(self, **command) -> dict:
        self.child.send_signal(signal.SIGCONT)
        try:
            self.child.stdin.write(json.dumps(command) + "\n")
            self.child.stdin.flush()
        except BrokenPipeError as error:
            raise Failure("the peer ended") from error
        answer = self._answer()
        self._stop()
        return answer

    def cpu_seconds(self) -> float:
        try:
            text = Path(f"/proc/{self.child.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return 0.0
        user, system = text.rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.child.kill()
        self.child.communicate()


class NativePeer:
    """A `llama-bench` of llama.cpp or of a fork of it. Like Potluck it loads anew for each round."""
    RUNS = 3  # of each figure: its warm-up is one token, so the first run is the slowest

    def __init__(self, program: str, more: list[str], model: Path, threads: int):
        self.command = [program, "-m", str(model), "-t", str(threads), "-r", str(self.RUNS), "-o", "json",
                        *more]
        self.about = {"program": " ".join([Path(program).name, *more])}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask_all(self, commands: list[tuple[str, int]]) -> tuple[dict, float]:
        """As compare.ask_all; logits of all rows ("verify") are nothing that it can measure."""
        prompts = sorted({n for op, n in commands if op in ("pp", "step")}) or [0]
        made = [n for op, n in commands if op == "tg"] or [0]
        said, usage = printed_json([*self.command, "-p", ",".join(map(str, prompts)),
                                    "-n", ",".join(map(str, made))])
        seconds = {}
        for test in said:
            of_one = median(test["samples_ns"]) * 1e-9
            if test["n_gen"] == 0:
                seconds["pp", test["n_prompt"]] = seconds["step", test["n_prompt"]] = of_one
            elif test["n_prompt"] == 0:
                seconds["tg", test["n_gen"]] = of_one
        return seconds, usage.ru_utime + usage.ru_stime


class BusyLoop:
    """One process that keeps one core busy, at normal priority."""

    def __enter__(self):
        self.child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
