"""The servers that are measured: `potluck up` and its workers, and the peer with many sequences."""
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import client
from client import Failure, Load, Request, Stream
from cores import kept_to

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "peer"))
import processes  # noqa: E402

READY_S = 120.0
LATE = "longer than its pace"  # what a paced worker says that could not keep it


class Program:
    """A program whose output goes into a file, from its start until the end of a `with`."""

    def __init__(self, command: list[str]):
        self.command = command
        self.log = tempfile.TemporaryFile(mode="w+b")
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log,
                                      stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def text(self) -> str:
        size = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), size, 0).decode(errors="replace")

    def close(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.log.close()


class Cluster(Program):
    """`potluck up` with these arguments, from its first token on until the end of a `with`. With
    `cores` its threads that compute are bound to the first of them, one each."""

    def __init__(self, program: str, arguments: list[str], cores: set[int] | None = None):
        with kept_to(cores):
            super().__init__([program, "up", "--port", "0", *arguments, *(["--pin"] if cores else [])])
        try:
            self.port = self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def _wait_until_ready(self) -> int:
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            if ready := re.search(r"^ready: .*?http://[^/ ]*:(\d+)/", self.text(), re.MULTILINE):
                return int(ready[1])
            if self.child.poll() is not None:
                break
            time.sleep(0.02)
        raise Failure(f"{' '.join(self.command)}: not ready: {self.text().strip()[-600:]}")

    def memory(self) -> int:
        """Bytes of memory of `potluck up` and its workers; what they share counts once."""
        family, total = [self.child.pid], 0
        for pid in family:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
            family += map(int, children.split())
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            total += int(re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)[1]) << 10
        return total

    def run(self, requests: list[Request]) -> Load:
        load = client.run(requests, self.port)
        if LATE in self.text():
            raise Failure("a paced worker could not keep its pace: give it more time or a smaller model")
        return load


class PeerServer:
    """llama.cpp in node-llama-cpp: as many sequences in one context, batched by the library."""

    def __init__(self, node: str, model: Path, threads: int, context: int, sequences: int):
        self.peer = processes.Peer(node, model, threads, context, script="parallel.mjs",
                                   more=["--sequences", str(sequences)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.peer.close()

    def run(self, requests: list[Request]) -> Load:
        asked = [{"prompt": r.prompt, "tokens": r.tokens, "after": r.after, "until": r.until}
                 for r in requests]
        answer = self.peer.ask(op="run", requests=asked)
        return Load([Stream(s["sent"], s["times"], len(s["times"])) for s in answer["streams"]], 0.0)
