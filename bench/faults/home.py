"""A coordinator and workers, each in a namespace of its own, and what can befall them."""
import http.client
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from network import Failure, Network

READY_S = 60.0
API = 8080
DOOR = 7070  # where workers join


class Process:
    def __init__(self, command: list[str], log: Path):
        self.log = log
        with open(log, "ab") as out:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          start_new_session=True)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, what: int):
        """To all of its group: `ip netns exec` replaces itself, so there is one process."""
        os.killpg(self.child.pid, what)

    def end(self):
        if self.child.poll() is not None:
            return
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.child.wait()


class Home:
    def __init__(self, network: Network, program: str, model: str, workers: int, device: str,
                 flags: list[str]):
        self.network, self.program = network, program
        self.folder = tempfile.TemporaryDirectory(prefix="potluck-faults-")
        self.path = Path(self.folder.name)
        self.device, self.model, self.flags = device, model, flags
        self.names = [f"w{i}" for i in range(workers)]
        self.workers: dict[str, Process] = {}
        self.coordinator = None

    def __enter__(self):
        made = subprocess.run(
            [self.program, "init", "--dir", str(self.path / "c"), "--address",
             f"{self.network.address('c')}:{DOOR}"], check=True, capture_output=True, text=True)
        token = re.search(r"potluck-join-\S+", made.stdout)[0]
        try:
            self.start_coordinator()
            self._wait_until_it_listens()
            for name in self.names:
                self.start_worker(name, ["--join", token])
            self.wait_until_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def start_coordinator(self):
        self.coordinator = Process(self.network.inside("c", [
            self.program, "coordinator", "--dir", str(self.path / "c"), "--model", self.model,
            "--workers", str(len(self.names)), "--port", str(API), *self.flags]), self.path / "c.log")

    def _wait_until_it_listens(self):
        until = time.monotonic() + READY_S
        while "listening at" not in self.coordinator.text():
            if time.monotonic() > until or self.coordinator.child.poll() is not None:
                raise Failure(f"the coordinator: {self.coordinator.text()[-1500:]}")
            time.sleep(0.02)

    def start_worker(self, name: str, more: list[str]):
        self.workers[name] = Process(self.network.inside(name, [
            self.program, "worker", "--dir", str(self.path / name), "--name", name, "--threads", "1",
            "--devices", self.device, *more]), self.path / f"{name}.log")

    def health(self) -> tuple[int, str]:
        try:
            link = http.client.HTTPConnection("127.0.0.1", API, timeout=2)
            link.request("GET", "/health")
            answer = link.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except OSError as e:
            return 0, str(e)

    def wait_until_ready(self, stages: int | None = None):
        """Until it serves; with `stages`, until that many workers have a part."""
        until = time.monotonic() + READY_S
        health = (0, "")
        while time.monotonic() < until:
            health = self.health()
            if health[0] == 200 and (stages is None or self.stages() == stages):
                return
            time.sleep(0.05)
        raise Failure(f"not ready after {READY_S:.0f} s: {health[1].strip()}\n"
                      f"{self.coordinator.text()[-1500:]}")

    def stages(self) -> int:
        """Of the newest plan in the coordinator's log."""
        plans = re.findall(r"^plan \d+: (\d+) stage", self.coordinator.text(), re.MULTILINE)
        return int(plans[-1]) if plans else 0

    def close(self):
        for process in [*self.workers.values(), self.coordinator]:
            if process:
                process.end()
        self.folder.cleanup()
