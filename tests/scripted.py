"""A server on loopback that answers as OpenAI's chat completions do, or fails as it is told to."""

import asyncio
import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from pipeline.grammar import write
from pipeline.types import Answer

MODEL = "scripted"
FAULTS = (
    *("busy", "rest", "broken", "overloaded", "hang", "drip", "cut", "no json", "no choice"),
    *("no text", "other model", "huge", "lies", "echo", "aborted", "refused inside"),
)
Script = Callable[[dict[str, Any], int], str]  # a request and its number → a fault, or ""


def answers(request: dict[str, Any]) -> str:
    """A text that hangs on the request alone."""
    return write(Answer(f"Seed {request['seed']}.", "A"))


def mixed(share: float, seed: int = 0) -> Script:
    """That share of requests fail, in every way alike."""
    random = Random(seed)
    return lambda request, number: random.choice(FAULTS) if random.random() < share else ""


class Scripted:
    """As an async context manager: it listens on ``url`` while it is open.

    Args:
        script: which fault each request meets.
        text: what the model writes.
        slots: how many requests are worked on at once; the rest wait.
        latency_s: for a request, of all that it is worked on.
    """

    def __init__(
        self,
        script: Script = lambda request, number: "",
        text: Callable[[dict[str, Any]], str] = answers,
        slots: int = 10**6,
        latency_s: Callable[[dict[str, Any]], float] = lambda request: 0.0,
        tls: ssl.SSLContext | None = None,
        **changes: Any,
    ) -> None:
        self.script, self.text, self.latency_s, self.tls = script, text, latency_s, tls
        self.changes = changes  # of every whole answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: Counter[str] = Counter()
        self.answered: Counter[Any] = Counter()  # whole answers by seed
        self.now = self.most = 0  # requests worked on at once
        self.busy_s = 0.0
        self.opened = 0  # connections, so far
        self.keep = True  # what was asked
        self.refusal = ""  # in other words
        self._slots = asyncio.Semaphore(slots)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Scripted":
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, limit=2**24, ssl=self.tls, backlog=4096
        )
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """Those that are open."""
        return len(self._tasks)

    async def _connected(self, reader: Any, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.opened += 1
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: Any, writer: asyncio.StreamWriter) -> bool:
        """Reads a request and answers it; whether the connection is still good."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (h.partition(": ") for h in head[1:] if h)}
        request = json.loads(await reader.readexactly(int(headers["content-length"])))
        number = sum(self.faults.values())
        fault = self.script(request, number)
        self.faults[fault] += 1
        if self.keep:
            self.requests.append(request)
            self.headers.append(headers)
        async with self._slots:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                took = self.latency_s(request)
                self.busy_s += took
                await asyncio.sleep(took)
            finally:
                self.now -= 1
        return await self._answer(fault, request, headers, writer)

    async def _answer(
        self, fault: str, request: dict[str, Any], headers: dict[str, str], writer: Any
    ) -> bool:
        statuses = {"busy": 429, "rest": 429, "broken": 500, "overloaded": 503}
        if fault.isdecimal() or fault in statuses:
            status = int(fault) if fault.isdecimal() else statuses[fault]
            rest = {"Retry-After": "0.05"} if fault == "rest" else {}
            rest |= {"Location": "http://127.0.0.1:1/v1"} if 300 <= status < 400 else {}
            _send(writer, self._refusal(fault, headers), status, rest)
        elif fault == "hang":
            await asyncio.sleep(60)
        elif fault == "drip":
            _head(writer, 200, {"Content-Length": "600"})
            for _ in range(600):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        elif fault == "cut":
            _head(writer, 200, {"Content-Length": "1000"})
            writer.write(b'{"choices": [')
            await writer.drain()
            return False
        elif fault == "huge":
            _head(writer, 200, {"Transfer-Encoding": "chunked"})
            for _ in range(50):
                writer.write(b"100000\r\n" + b" " * 2**20 + b"\r\n")
                await writer.drain()
        elif fault == "refused inside":
            _send(writer, self._refusal(fault, headers), 200)
        elif fault == "no json":
            _send(writer, b'{"choices": [{"message": {"cont', 200)
        else:
            _send(writer, json.dumps(self._told(fault, request, headers)).encode(), 200)
        await writer.drain()
        return True

    def _refusal(self, fault: str, headers: dict[str, str]) -> bytes:
        words = f"{fault}: key {headers.get('authorization')} is bad"
        return json.dumps({"error": {"message": self.refusal or words}}).encode()

    def _told(self, fault: str, request: dict[str, Any], headers: dict[str, str]) -> Any:
        text = self.text(request)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop"}
        usage: dict[str, Any] = {"prompt_tokens": 500, "completion_tokens": 20}
        usage["prompt_tokens_details"] = {"cached_tokens": 100}
        told = {"model": MODEL, "object": "chat.completion", "choices": [choice], "usage": usage}
        if request.get("return_token_ids"):
            ids = list(range(10, 30))
            choice["token_ids"] = ids
            choice["logprobs"] = {"content": [{"token": "x", "logprob": -i / 100} for i in ids]}
        if fault == "no choice":
            told["choices"] = []
        elif fault == "no text":
            message["content"] = None
        elif fault == "other model":
            told["model"] = "another"
        elif fault == "echo":
            message["content"] = f"{text} {headers.get('authorization')}"
        elif fault == "aborted":
            choice["finish_reason"] = "abort"
        elif fault == "lies":
            usage |= {"prompt_tokens": -5, "completion_tokens": 10**30}
            usage["prompt_tokens_details"] = {"cached_tokens": "many"}
        told |= {k: v for k, v in self.changes.items() if k in told}
        choice |= {k: v for k, v in self.changes.items() if k in {*choice, "token_ids"}}
        if fault in ("", "lies"):
            self.answered[request["seed"]] += 1
        return told


def _head(writer: asyncio.StreamWriter, status: int, headers: dict[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in headers.items())]
    writer.write(("\r\n".join([*lines, "Content-Type: application/json"]) + "\r\n\r\n").encode())


def _send(
    writer: asyncio.StreamWriter, body: bytes, status: int, headers: dict[str, str] | None = None
) -> None:
    _head(writer, status, {**(headers or {}), "Content-Length": str(len(body))})
    writer.write(body)


@contextmanager
def listening(*given: Any, **named: Any) -> Iterator[Scripted]:
    """A server in a thread of its own, for those who run a loop of their own."""
    ready, ended = threading.Event(), asyncio.Event()
    server = Scripted(*given, **named)
    loop = asyncio.new_event_loop()

    async def listen() -> None:
        async with server:
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(listen()))
    thread.start()
    assert ready.wait(20)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
