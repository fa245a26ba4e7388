"""Network namespaces joined by tools/netshape: several machines on this one. Needs root."""
import ctypes
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

CLONE_NEWNET = 0x40000000
ECHOES = 200
BURST = 32 << 20

# What runs at the far end of a measured wire: answers single bytes, then takes a burst.
FAR_END = """
import socket, sys
server = socket.create_server((sys.argv[1], 7999))
print("ready", flush=True)
link = server.accept()[0]
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for _ in range(int(sys.argv[2])):
    link.sendall(link.recv(1))
left = int(sys.argv[3])
while left > 0:
    left -= len(link.recv(1 << 20)) or left
link.sendall(b"!")
"""


class Failure(Exception):
    """The machine cannot do what the test needs."""


def enter(namespace: str):
    """This thread, and what it starts, live in that namespace from now on."""
    with open(f"/run/netns/{namespace}", "rb") as there:
        enter_open(there)


def enter_open(namespace):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise Failure(f"entering {namespace.name}: {os.strerror(ctypes.get_errno())}")


class Network:
    """Namespaces PREFIX-NAME with the addresses 10.77.0.1, .2, … in the order of names."""

    def __init__(self, program: str, names: list[str], rate: str, rtt: str, mtu: int):
        self.prefix = f"potluck{os.getpid()}"
        self.names = names
        self.switch = None
        try:
            for name in names:
                subprocess.run(["ip", "netns", "add", self.namespace(name)], check=True)
            ports = [f"{self.namespace(n)}={self.address(n)}" for n in names]
            self.switch = subprocess.Popen(
                [program, "--rate", rate, "--rtt", rtt, "--mtu", str(mtu), *ports],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            if self.switch.stdout.readline() != "ready\n":
                raise Failure("netshape did not start")
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def namespace(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def address(self, name: str) -> str:
        return f"10.77.0.{self.names.index(name) + 1}"

    def inside(self, name: str, command: list[str]) -> list[str]:
        return ["ip", "netns", "exec", self.namespace(name), *command]

    def say(self, verb: str, name: str, *value: str) -> None:
        self.switch.stdin.write(" ".join([verb, self.namespace(name), *value]) + "\n")
        self.switch.stdin.flush()
        answer = self.switch.stdout.readline().strip()
        if answer != "ok":
            raise Failure(f"netshape: {verb} {name}: {answer}")

    def measure(self, near: str, far: str) -> tuple[float, float]:
        """Median time there and back in seconds, and bits per second one way, over TCP. The caller is
        in `near`."""
        command = [sys.executable, "-c", FAR_END, self.address(far), str(ECHOES), str(BURST)]
        end = subprocess.Popen(self.inside(far, command), stdout=subprocess.PIPE, text=True)
        end.stdout.readline()
        with socket.create_connection((self.address(far), 7999), 10) as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            times = []
            for _ in range(ECHOES):
                began = time.perf_counter()
                link.sendall(b"?")
                link.recv(1)
                times.append(time.perf_counter() - began)
            began = time.perf_counter()
            link.sendall(bytes(BURST))
            link.recv(1)
            took = time.perf_counter() - began
        end.wait(10)
        return sorted(times)[ECHOES // 2], BURST * 8 / took

    def close(self):
        if self.switch:
            self.switch.stdin.close()
            self.switch.wait(10)
        for name in self.names:
            if Path(f"/run/netns/{self.namespace(name)}").exists():
                subprocess.run(["ip", "netns", "del", self.namespace(name)], check=False)
