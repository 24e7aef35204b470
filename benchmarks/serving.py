"""The served teacher against a simulated server on loopback, in a process of its own.

The server works on `SLOTS` requests at once and lets the others wait; a turn takes as long as it has
tokens, and these are log-normal. The yardstick is a loop in lock step, as many trajectories at once:
all take a turn, and the slowest is waited for; whoever has ended is replaced before the next turn.
"""

import asyncio
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from random import Random
from typing import Any, NamedTuple

from measure import HEAD, Claim

from pipeline import canvas, problems
from pipeline.grammar import write
from pipeline.policies import EndpointPolicy, Sampling
from pipeline.rollout import advance, rollout
from pipeline.sending import Pictures
from pipeline.teachers.endpoint import Endpoint
from pipeline.types import Answer, Box, Point, Policy, Problem, State, Step, Trajectory
from pipeline.versions import Version, load

SLOTS, AT_ONCE = 32, 48
PROBLEMS, SAMPLES = 60, 6
TOKENS, SPREAD = 60, 0.7  # of a turn: the median, and the deviation of its logarithm
SECONDS = 0.008  # a token
LARGE = 10_000  # trajectories in flight, whose memory is taken
TAKEN = 2_000  # turns, by when it is
WARM_S = 5.0  # in which the limit finds its place


# The server --------------------------------------------------------------------------------------


class Simulated:
    def __init__(self, slots: int, seconds: float) -> None:
        self.slots, self.seconds = asyncio.Semaphore(slots), seconds
        self.busy_s, self.served = 0.0, 0
        self.since: dict[int, float] = {}  # of what is worked on

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                said = self.told() if b"/told/" in head[:60] else await self.answer(body)
                data = json.dumps(said).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def told(self) -> dict[str, float]:
        now = time.monotonic()
        under_way = sum(now - since for since in self.since.values())
        return {"busy_s": self.busy_s + under_way, "served": self.served, "now": now}

    async def answer(self, body: bytes) -> dict[str, Any]:
        request = json.loads(body)
        random = Random(request["seed"])
        tokens = max(1, round(random.lognormvariate(math.log(TOKENS), SPREAD)))
        async with self.slots:
            self.served += 1
            number, began = self.served, time.monotonic()
            self.since[number] = began
            await asyncio.sleep(tokens * self.seconds)
            del self.since[number]
            self.busy_s += time.monotonic() - began
        turns = sum(message["role"] == "assistant" for message in request["messages"])
        first = request["messages"][1]["content"][-1]["text"]
        wanted = Random(first).randint(1, 5)
        message = {"role": "assistant", "content": _text(turns, turns >= wanted)}
        return {
            "model": request["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 900, "completion_tokens": tokens},
        }


def _text(turn: int, last: bool) -> str:
    if last:
        return write(Answer("The boxes tell it.", "A"))
    box = Box(1, (Point(8 + 6 * turn, 8), Point(60 + 6 * turn, 70)), f"thing {turn}")
    return write(Step("I look at this one next.", (box,)))


async def serve(slots: int, seconds: float) -> None:
    simulated = Simulated(slots, seconds)
    server = await asyncio.start_server(
        simulated.connected, "127.0.0.1", 0, limit=2**24, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@asynccontextmanager
async def served(slots: int, seconds: float = SECONDS) -> AsyncIterator[int]:
    """The port of a server of its own."""
    command = [sys.executable, __file__, "serve", str(slots), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


async def asked(port: int) -> dict[str, float]:
    """What the server says of itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /told/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    length = int((await reader.readuntil(b"\r\n\r\n")).split(b"Length: ")[1])
    told: dict[str, float] = json.loads(await reader.readexactly(length))
    writer.close()
    return told


# The client --------------------------------------------------------------------------------------


def teacher(version: Version, port: int, at_once: int) -> Endpoint:
    policy = EndpointPolicy(
        kind="endpoint",
        model="simulated",
        servers=(f"http://127.0.0.1:{port}/v1",),
        in_flight=at_once,
    )
    return Endpoint(policy, Sampling(samples=SAMPLES), version.limits, version.wire, 0)


class Run(NamedTuple):
    turns: int
    seconds: float
    used: float  # share of the slots' time, from when the limit has grown to the last start
    cpu: float = 0.0  # seconds of a turn, in the same span, encoding apart
    encoding: float = 0.0


async def free(version: Version, given: list[Problem], encoding: "Encoding") -> Run:
    """Ours: a coroutine a trajectory, no barrier."""
    async with served(SLOTS) as port:
        marks: list[dict[str, float]] = []

        async def mark() -> None:
            cpu = {"cpu": time.process_time(), "encoding": encoding.seconds}
            marks.append({**await asked(port), **cpu})

        def starting() -> Iterator[Problem]:
            yield from given
            pending.append(asyncio.get_running_loop().create_task(mark()))

        pending: list[asyncio.Task[None]] = []
        asyncio.get_running_loop().call_later(
            WARM_S, lambda: pending.append(asyncio.ensure_future(mark()))
        )
        begun, turns = time.monotonic(), 0
        runs = rollout(
            teacher(version, port, AT_ONCE),
            starting(),
            SAMPLES,
            version.limits,
            version.wire,
            AT_ONCE,
        )
        async for run in runs:
            assert isinstance(run, Trajectory), run
            turns += len(run.turns)
        took = time.monotonic() - begun
        await asyncio.gather(*pending)
        span = {name: marks[1][name] - marks[0][name] for name in marks[0]}
        cpu, encoded = span["cpu"] / span["served"], span["encoding"] / span["served"]
        return Run(turns, took, span["busy_s"] / (SLOTS * span["now"]), cpu - encoded, encoded)


async def lock_step(version: Version, given: list[Problem]) -> Run:
    async with served(SLOTS) as port:
        policy: Policy = teacher(version, port, AT_ONCE)
        starts = (canvas.opened(p, sample) for p in given for sample in range(SAMPLES))
        live: list[State] = []
        begun, turns = time.monotonic(), 0
        while live := [*live, *islice(starts, AT_ONCE - len(live))]:
            said = await asyncio.gather(*(policy.act(state) for state in live))
            turns += len(said)
            after = [
                advance(state, turn, version.limits, version.wire)
                for state, turn in zip(live, said, strict=True)
            ]
            live = [state for state in after if isinstance(state, State)]
        took = time.monotonic() - begun
        told = await asked(port)
        return Run(turns, took, told["busy_s"] / (SLOTS * took))


class Encoding:
    """CPU seconds that pictures cost, while it is open."""

    seconds = 0.0

    def __enter__(self) -> "Encoding":
        self._made = Pictures._made

        def timed(pictures: Pictures, *given: Any) -> dict[str, str]:
            begun = time.thread_time()
            try:
                return self._made(pictures, *given)
            finally:
                self.seconds += time.thread_time() - begun

        Pictures._made = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Pictures._made = self._made  # type: ignore[method-assign]


async def large() -> tuple[float, int]:
    """Peak memory, MB, with `LARGE` trajectories in flight, and how many turns were taken."""
    version = load("oracles")
    given = _problems(version, LARGE // 10)
    async with served(1024) as port:
        policy = _Counting(teacher(version, port, 1024))
        runs = rollout(policy, given, 10, version.limits, version.wire, LARGE)
        taking = asyncio.ensure_future(anext(aiter(runs)))  # which starts them all
        while policy.turns < TAKEN:
            await asyncio.sleep(1)
            if taking.done():
                assert isinstance(taking.result(), Trajectory), taking.result()
        most, turns = policy.most, policy.turns
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
    assert most >= LARGE, most
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, turns


class _Counting:
    """How many trajectories wait for a turn at once."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.now, self.most, self.turns = policy, 0, 0, 0

    async def act(self, state: State) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.policy.act(state)
        finally:
            self.now -= 1
            self.turns += 1


def _problems(version: Version, count: int) -> list[Problem]:
    return list(map(problems.make, islice(_endless(version), count)))


def _endless(version: Version) -> Iterator[Any]:
    wanted = {**version.problems.splits, "cold": 100_000}
    asked = version.problems.model_copy(update={"splits": wanted})
    return problems.orders(version.model_copy(update={"problems": asked}), "cold")


def claims() -> Iterator[Claim]:
    version = load("oracles")
    given = _problems(version, PROBLEMS)
    with Encoding() as encoding:
        ours = asyncio.run(free(version, given, encoding))
    theirs = asyncio.run(lock_step(version, given))
    assert ours.turns == theirs.turns
    rates = [run.turns / run.seconds for run in (ours, theirs)]
    yield Claim(
        f"turns of {PROBLEMS * SAMPLES} trajectories, {AT_ONCE} at once, {SLOTS} slots",
        f"{rates[0]:.1f}/s",
        f"{rates[1]:.1f}/s, in lock step",
        f"{rates[0] / rates[1]:.2f} × as fast",
        "≥ 1.5 ×",
    )
    yield Claim(
        "the slots' time that is used, until the last trajectory starts",
        f"{ours.used:.1%}",
        f"{theirs.used:.1%}, in lock step",
        "–",
        "≥ 95 %",
    )
    yield Claim(
        "CPU of a turn, encoding of pictures apart",
        f"{ours.cpu * 1e3:.2f} ms",
        f"{ours.encoding * 1e3:.2f} ms, that encoding",
        "–",
        "< 3 ms",
    )
    alone = [sys.executable, __file__, "large"]
    peak, turns = json.loads(subprocess.run(alone, stdout=subprocess.PIPE, check=True).stdout)
    what = f"peak memory, {LARGE:,} trajectories in flight, {turns:,} turns taken"
    yield Claim(what, f"{peak:,.0f} MB", "–", "–", "< 2 GB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2]), float(sys.argv[3])))
    elif sys.argv[1:2] == ["large"]:
        print(json.dumps(asyncio.run(large())))
    else:
        print(HEAD, flush=True)
        for claim in claims():
            print(claim, flush=True)
