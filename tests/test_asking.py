"""Who is asked through the file of turns, and under which identity."""

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pipeline import canvas, teachers
from pipeline.asking import asking, turns_file
from pipeline.policies import (
    CheckpointPolicy,
    EndpointPolicy,
    OraclePolicy,
    Policy,
    Sampling,
    Stage,
    VllmPolicy,
)
from pipeline.replay import Replayed
from pipeline.rollout import rollout
from pipeline.store import Store
from pipeline.types import Trajectory
from pipeline.versions import Version, parse
from tests.assets.conftest import TINY
from tests.conftest import ByTheBatch, Saying, plain_problem
from tests.scripted import MODEL, Scripted

ORACLE = OraclePolicy(kind="oracle")


def at(policy: Policy, **sampling: Any) -> Stage:
    return Stage(policy=policy, sampling=Sampling(**{"samples": 1, **sampling}))


def checkpoint(model: str, revision: str | None = None) -> CheckpointPolicy:
    return CheckpointPolicy(kind="checkpoint", model=model, revision=revision)


def running(model: str) -> VllmPolicy:
    return VllmPolicy(kind="vllm", model=model)


def folder(place: Path, weights: bytes = b"weights", tokenizer: str = "{}") -> str:
    place.mkdir()
    (place / "model.safetensors").write_bytes(weights)
    (place / "tokenizer.json").write_text(tokenizer)
    return str(place)


@pytest.fixture
def version() -> Version:
    return parse("tiny", TINY)


def test_what_is_cheaper_than_a_file_is_asked_directly(tmp_path: Path, version: Version) -> None:
    store = Store.at(tmp_path)

    async def ask() -> None:
        async with asking(at(ORACLE), version, "teacher", store) as (policy, _):
            assert not isinstance(policy, Replayed)

    asyncio.run(ask())
    assert not turns_file(store).exists()


def test_an_identity_is_the_model_how_it_is_sampled_and_the_seed() -> None:
    told = teachers.identity(at(checkpoint("m", "r")), 1)
    others = [
        teachers.identity(at(checkpoint("n", "r")), 1),
        teachers.identity(at(checkpoint("m", "s")), 1),
        teachers.identity(at(checkpoint("m", "r")), 2),
        teachers.identity(at(checkpoint("m", "r"), temperature=0.5), 1),
        teachers.identity(at(checkpoint("m", "r"), top_p=0.5), 1),
        teachers.identity(at(checkpoint("m", "r"), max_tokens=99), 1),
    ]
    assert told not in others
    assert teachers.identity(at(checkpoint("m", "r"), samples=9), 1) == told


def test_a_model_in_a_folder_is_its_files_and_not_its_place(tmp_path: Path) -> None:
    one = teachers.identity(at(checkpoint(folder(tmp_path / "one"))), 1)
    moved = teachers.identity(at(checkpoint(folder(tmp_path / "moved"))), 1)
    trained = teachers.identity(at(checkpoint(folder(tmp_path / "b", b"other"))), 1)
    worded = teachers.identity(at(checkpoint(folder(tmp_path / "c", tokenizer="[]"))), 1)
    assert one == moved
    assert one not in (trained, worded)
    assert str(tmp_path) not in str(one)


@pytest.mark.parametrize("kind", ["checkpoint", "vllm"])
def test_a_backend_is_started_only_for_a_turn_that_is_not_kept(
    tmp_path: Path, version: Version, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    started: list[str] = []

    def start(*_: object) -> ByTheBatch:
        started.append("now")
        return ByTheBatch(Saying())

    monkeypatch.setitem(teachers.TEACHERS, kind, start)

    async def run() -> list[Trajectory]:
        stage = at(checkpoint("m") if kind == "checkpoint" else running("m"))
        async with asking(stage, version, "teacher", Store.at(tmp_path)) as (policy, _):
            runs = rollout(policy, [plain_problem()], 3, version.limits, version.wire)
            return [run async for run in runs if isinstance(run, Trajectory)]

    first = asyncio.run(run())
    assert started == ["now"]
    assert asyncio.run(run()) == first
    assert started == ["now"]


def test_the_file_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert turns_file(Store.at(tmp_path)) == tmp_path / "replay" / "turns.sqlite"
    monkeypatch.setenv("DRAWLOOP_REPLAY", str(tmp_path / "fast"))
    assert turns_file(Store.at(tmp_path)) == tmp_path / "fast" / "turns.sqlite"


class Engine(Saying):
    """Runs until it is closed."""

    closed = 0

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.closed += 1


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt, asyncio.CancelledError])
def test_a_backend_that_was_started_is_closed_however_it_ends(
    tmp_path: Path,
    version: Version,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException] | None,
) -> None:
    engines: list[Engine] = []

    def start(*_: object) -> Engine:
        engines.append(Engine())
        return engines[-1]

    monkeypatch.setitem(teachers.TEACHERS, "vllm", start)

    async def ask(turns: int) -> None:
        stage = at(running("m"))
        async with asking(stage, version, "teacher", Store.at(tmp_path)) as (policy, _):
            for _ in range(turns):
                await policy.act(canvas.opened(plain_problem()))
            if error is not None:
                raise error

    for turns in (0, 1):
        with pytest.raises(error) if error else nullcontext():
            asyncio.run(ask(turns))
    assert [engine.closed for engine in engines] == [1]


def test_the_connections_of_a_served_model_are_closed_with_it(
    tmp_path: Path, version: Version
) -> None:
    async def ask() -> None:
        async with Scripted() as server:
            policy = EndpointPolicy(kind="endpoint", model=MODEL, servers=(server.url,))
            async with asking(at(policy), version, "teacher", Store.at(tmp_path)) as (who, _):
                await who.act(canvas.opened(plain_problem()))
                assert server.connections == 1
            async with asyncio.timeout(5):
                while server.connections:
                    await asyncio.sleep(0.01)

    asyncio.run(ask())
