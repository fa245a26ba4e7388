"""Streaming clients of an OpenAI-compatible server, all on one thread and one selector.

While answers come, a client only counts events and looks at the clock: the programs that are
measured need the processor more. How much of it was taken all the same is part of the result.
"""
import json
import resource
import selectors
import socket
import time
from dataclasses import dataclass, field

TIMEOUT_S = 170.0
TEXT = b'"text":'  # once in each event that carries text, and once in the one that ends the answer


class Failure(Exception):
    """A program that is measured could not do what it was asked for."""


@dataclass
class Request:
    prompt: list[int]
    tokens: int
    after: tuple[int, int] | None = None  # (i, n): begins once request i has had n tokens
    until: int | None = None  # i: hangs up once request i is answered
    port: int = 0  # another server than the one that is asked
    may_be_refused: bool = False  # for now, with 429


@dataclass
class Stream:
    """What came of a request. Seconds of one monotonic clock."""
    sent: float = 0.0
    times: list[float] = field(default_factory=list)  # one for each token, as far as they come singly
    made: int | None = None  # tokens, as the server counted them; None: hung up
    answer: bytes = b""  # all of it, once it has ended
    refused: bool = False

    def first(self) -> float:
        return self.times[0] - self.sent


@dataclass
class Load:
    streams: list[Stream]
    client_cores: float  # processor time of the clients ÷ elapsed time


class Connection:
    def __init__(self, request: Request, port: int):
        self.request, self.stream = request, Stream()
        body = json.dumps({"prompt": request.prompt, "max_tokens": request.tokens, "temperature": 0,
                           "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}})
        head = (f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")
        self.message, self.port = (head + body).encode(), port
        self.received, self.tail = [], b""

    def open(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream.sent = time.monotonic()
        self.socket.sendall(self.message)
        self.socket.setblocking(False)

    def read(self) -> bool:
        """Takes what is there; False at the end of the answer."""
        data = self.socket.recv(1 << 16)
        now = time.monotonic()
        if not data:
            return False
        self.received.append(data)
        seen = self.tail + data
        self.stream.times += [now] * seen.count(TEXT)
        self.tail = seen[-len(TEXT) + 1:]
        return True

    def finish(self, whole: bool):
        self.socket.close()
        answer = b"".join(self.received)
        if not whole:
            return
        self.stream.answer = answer
        status = answer.split(b"\r\n", 1)[0]
        if self.request.may_be_refused and b" 429 " in status:
            self.stream.refused = True
            return
        usage = answer.rsplit(b'"completion_tokens":', 1)
        if b" 200 " not in status or len(usage) != 2 or b"[DONE]" not in usage[1]:
            raise Failure(f"the server: {answer[-600:].decode(errors='replace')}")
        self.stream.made = int(usage[1].split(b",")[0].split(b"}")[0])
        del self.stream.times[-1]  # the event that ends the answer
        if self.stream.made != self.request.tokens or not self.stream.times:
            raise Failure(f"{self.request.tokens} tokens were asked for, {self.stream.made} came")


def run(requests: list[Request], port: int = 0) -> Load:
    """Sends the requests, each when its time has come, and waits until all have ended."""
    selector = selectors.DefaultSelector()
    connections = [Connection(r, r.port or port) for r in requests]
    waiting, active = set(range(len(requests))), set()
    start, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)

    def begin():
        for i in sorted(waiting):
            after = requests[i].after
            if after is None or len(connections[after[0]].stream.times) >= after[1]:
                waiting.remove(i)
                active.add(i)
                connections[i].open()
                selector.register(connections[i].socket, selectors.EVENT_READ, i)

    def end(i: int, whole: bool):
        active.remove(i)
        selector.unregister(connections[i].socket)
        connections[i].finish(whole)

    begin()
    try:
        while active:
            ready = selector.select(TIMEOUT_S)
            if not ready or time.monotonic() - start > TIMEOUT_S:
                raise Failure(f"no answer within {TIMEOUT_S:.0f} s")
            for key, _ in ready:
                if key.data in active and not connections[key.data].read():
                    end(key.data, True)
                    for i in [i for i in active if requests[i].until == key.data]:
                        end(i, False)
            if waiting:
                begin()
    finally:
        for i in active:
            connections[i].socket.close()
        selector.close()
    if waiting:
        raise Failure("a request waited for one that ended before")
    now, elapsed = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - start
    cores = (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) / elapsed
    return Load([c.stream for c in connections], cores)
