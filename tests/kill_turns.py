"""Sampling that is killed: `python -m tests.kill_turns --kills 50`.

A scripted teacher answers on loopback, in a process of its own that nobody kills, and writes down
every turn that it is asked for. One build of `teacher_trajectories` is left alone; another, in a
store of its own, is killed with SIGKILL at moments spread at random over the turns that the first
took, started again each time, and at last let through.

A turn is finished when its answer has reached the client's rollout: `Replayed.act` has come back.
The client writes that down, too. A turn whose answer was still on its way when the client was
killed, over the wire or into the file of turns, was not finished, and may be asked for again.

Then no finished turn may have been asked for again, no turn twice by one client, and the parquet
must be that of the first build, byte by byte. Exits with 1 otherwise.
"""

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from assets.build import build
from pipeline import teachers
from pipeline.grammar import write
from pipeline.replay import Replayed
from pipeline.rollout import read_turn
from pipeline.store import Store
from pipeline.types import Answer, Box, Point, State, Step, Turn, Usage
from pipeline.versions import Version, parse
from tests.conftest import PIXELS

VERSION = """
description: for tests
canvas: {{smallest: 112, largest: 112}}
problems:
  tasks: {{counting: {{}}}}
  splits: {{skills: 0, cold: {problems}, reflective: 0, rl: 0, evaluation: 0}}
teacher: {{policy: {{kind: vllm, model: scripted}}, sampling: {{samples: 4}}}}
cold_model: {{policy: {{kind: oracle}}, sampling: {{samples: 1}}}}
reflective_model: {{policy: {{kind: oracle}}, sampling: {{samples: 1}}}}
filters: {{reflective: {{rule: paper}}}}
"""
AT_ONCE = 8  # requests that the client has open
LATENCY_S = (0.005, 0.025)
ASSET = "teacher_trajectories"
Key = tuple[str, int, int]  # problem, sample, turn
fork = multiprocessing.get_context("fork")  # imports take longer than what is killed


# The teacher -------------------------------------------------------------------------------------


def text(key: Key) -> str:
    """What the teacher says: one to four boxes, one a turn, then an answer."""
    problem, sample, turn = key
    if turn >= 1 + Random(f"{problem}/{sample}").randrange(4):
        return write(Answer("That is all.", str(turn)))
    rng = Random(f"{problem}/{sample}/{turn}")
    x, y = rng.randrange(60), rng.randrange(60)
    return write(Step("I look.", (Box(1, (Point(x, y), Point(x + 40, y + 40)), f"no {turn}"),)))


def serve(port: Any, log: Path) -> None:
    """Answers one turn a connection, late, and writes down first that it was asked for it."""
    asked = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if line := await reader.readline():
            os.write(asked, line)
            _, *key = json.loads(line)
            await asyncio.sleep(Random(str(key)).uniform(*LATENCY_S))
            writer.write(json.dumps(text((key[0], key[1], key[2]))).encode() + b"\n")
        writer.close()

    async def forever() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


class Asking:
    """A policy that asks the teacher."""

    def __init__(self, port: int, run: int) -> None:
        self.port, self.run = port, run
        self.slots = asyncio.Semaphore(AT_ONCE)

    async def act(self, state: State) -> Turn:
        key = _key(state)
        async with self.slots:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(json.dumps([self.run, *key]).encode() + b"\n")
            said = json.loads(await reader.readline())
            writer.close()
        rng = Random(str(key))
        ids = tuple(rng.randrange(150_000) for _ in range(50))
        logprobs = tuple(-rng.random() for _ in ids)
        told = read_turn(state, said, PIXELS, ids=ids, logprobs=logprobs)
        return replace(told, usage=Usage(100, len(ids), 0, len(state.views), 1))


def _key(state: State) -> Key:
    return state.problem.id, state.sample, len(state.turns)


# The client, which is killed ---------------------------------------------------------------------


def sample(version: Version, place: Path, port: int, run: int, ready: Any) -> None:
    """Builds the problems, says so, and samples them; writes down which turns are finished."""
    store = Store.at(place / "data")
    finished = os.open(place / "finished", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    teachers.TEACHERS["vllm"] = lambda *_: Asking(port, run)
    act = Replayed.act

    async def noted(self: Replayed, state: State) -> Turn:
        turn = await act(self, state)
        os.write(finished, json.dumps([run, *_key(state)]).encode() + b"\n")
        return turn

    Replayed.act = noted  # type: ignore[method-assign]
    build("problems", version, store)
    ready.send(True)
    build(ASSET, version, store)


def run_once(version: Version, place: Path, port: int, run: int) -> Any:
    """A client that has begun to sample."""
    place.mkdir(exist_ok=True)
    told, ready = fork.Pipe(duplex=False)
    client = fork.Process(target=sample, args=(version, place, port, run, ready))
    client.start()
    ready.close()
    with closing(told):
        told.recv()
    return client


def done(client: Any) -> None:
    """Lets a client come to its end."""
    client.join()
    if client.exitcode:
        raise SystemExit(f"a client that nobody killed ended with {client.exitcode}")


def killed(client: Any, log: Path, asked: float, after: float) -> bool:
    """Kills a client when the teacher's log is so long, and then some; False if it was done before."""
    while log.stat().st_size < asked and client.exitcode is None:
        client.join(0.002)
    client.join(after)
    if client.exitcode is not None:
        done(client)
        return False
    os.kill(client.pid, signal.SIGKILL)
    client.join()
    return True


# What is looked at -------------------------------------------------------------------------------


def logged(path: Path) -> list[tuple[int, Key]]:
    """(run, key) of every whole line: a client may be killed in the middle of the last."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [(run, (problem, n, turn)) for run, problem, n, turn in map(json.loads, lines)]


def asked_again(asked: list[tuple[int, Key]], finished: list[tuple[int, Key]]) -> Iterator[str]:
    """Turns that were asked for after they were finished, or twice by one client."""
    done: dict[Key, int] = {}
    for run, key in finished:
        done[key] = min(run, done.get(key, run))
    seen = set[tuple[int, Key]]()
    for run, key in asked:
        if (run, key) in seen:
            yield f"{key} was asked for twice by client {run}"
        if done.get(key, run) < run:
            yield f"{key} was finished by client {done[key]}, and asked for again by {run}"
        seen.add((run, key))


def parts(place: Path) -> dict[str, str]:
    """The hashes of the parquet."""
    found = sorted((place / "data" / ASSET).glob("*/*.parquet"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def trial(place: Path, kills: int, seed: int) -> list[str]:
    """What went wrong, of sampling that is killed so many times; says what happens as it does."""
    version = parse("killed", VERSION.format(problems=8 + 2 * kills))
    calm, log = place / "calm", place / "asked"
    told, port_to = fork.Pipe(duplex=False)
    teacher = fork.Process(target=serve, args=(port_to, log), daemon=True)
    teacher.start()
    port, rng = told.recv(), Random(seed)
    try:
        start = time.monotonic()
        done(run_once(version, calm, port, 0))
        took, every = time.monotonic() - start, {key for _, key in logged(log)}
        print(f"undisturbed: {len(every)} turns in {took:.1f} s", flush=True)
        most = log.stat().st_size / (kills + 1)  # half of the turns are asked for by the last kill
        died, run, first, again, wrong = 0, 0, 1, 0, list[str]()
        disturbed = place / "killed"
        while died <= kills:  # the last is let through
            run += 1
            asked_by = log.stat().st_size + rng.uniform(0, most)
            client = run_once(version, disturbed, port, run)
            if died < kills and killed(client, log, asked_by, rng.uniform(0, LATENCY_S[1])):
                died += 1
                continue
            done(client)
            asked = [(n, key) for n, key in logged(log) if first <= n <= run]
            wrong += judged(calm, disturbed, asked, every)
            again += len(asked) - len(every)
            if died == kills:
                break
            first, disturbed = run + 1, place / f"killed-{run}"  # it was done before: anew
    finally:
        teacher.kill()
        teacher.join()
    print(
        f"{died} killed; {len(every)} turns; {again} were asked for again that were on their way at a "
        f"kill, {len(wrong)} wrong",
        *wrong,
        sep="\n  ",
    )
    return wrong


def judged(
    calm: Path, disturbed: Path, asked: list[tuple[int, Key]], every: set[Key]
) -> Iterator[str]:
    """What is wrong with an asset whose clients were killed, now that it is there."""
    yield from asked_again(asked, logged(disturbed / "finished"))
    if {key for _, key in asked} != every:
        yield "other turns were asked for than in the undisturbed run"
    if parts(calm) != parts(disturbed) or not parts(calm):
        yield "the parquet differs"


def main() -> None:
    parser = argparse.ArgumentParser(description="Sampling that is killed.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drawloop-turns-") as place:
        wrong = trial(Path(place), told.kills, told.seed)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
