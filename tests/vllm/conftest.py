"""One engine for all tests of it, of the tiny base that is kept with the project."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest

from pipeline import problems, tokens, versions
from pipeline.policies import Engine
from pipeline.rollout import Limits, rollout
from pipeline.teachers.local import Local, Sampling, loaded
from pipeline.teachers.vllm import Vllm
from pipeline.types import Policy, Problem, Trajectory
from tests.served import CPU

BASE = Path(__file__).parents[2] / "weights" / "tiny-qwen2.5-vl"
LIMITS = Limits(max_turns=4, task_turns=(), max_context=3000, max_images=12)
GREEDY = Sampling(temperature=0.0, max_tokens=120)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need vLLM, whose imports warn of many things that are not ours."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("vllm")
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            if find_spec("vllm") is None:
                item.add_marker(pytest.mark.skip(reason="no vLLM here: make test-vllm"))


@pytest.fixture(scope="session", autouse=True)
def on_a_cpu() -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(CPU)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def engine(on_a_cpu: None) -> Iterator[Vllm]:
    small = Engine(eager=True, picture_cache=0.5)
    running = Vllm(str(BASE), LIMITS, GREEDY, dtype="float32", engine=small)
    yield running
    running.close()


@pytest.fixture
def policy(engine: Vllm) -> Vllm:
    """The engine with the weights and the sampling that it started with."""
    engine.load(BASE)
    engine.sample_as(GREEDY)
    return engine


@pytest.fixture(scope="session")
def local() -> Local:
    """transformers on the same checkpoint."""
    return Local(loaded(str(BASE)), tokens_of(), LIMITS, GREEDY)


def tokens_of() -> object:
    from pipeline import models

    return models.load_processor(str(BASE))


@pytest.fixture(scope="session")
def asked() -> list[Problem]:
    """Problems that the base knows, and some of several pictures that it does not."""
    mini = versions.load("mini")
    orders = [*islice(problems.orders(mini, "cold"), 8)]
    orders += islice(problems.orders(mini, "unseen_task"), 2)
    return [problems.make(order) for order in orders]


def rolled(
    policy: Policy, asked: Sequence[Problem], words: tokens.Vocabulary, samples: int = 1
) -> list[Trajectory]:
    """Trajectories, in order; none may fail."""

    async def run() -> list[Trajectory]:
        family, count = versions.load("mini").wire, tokens.counter(words)
        runs = rollout(policy, asked, samples, LIMITS, family, 32, count)
        done = [one async for one in runs]
        assert all(isinstance(one, Trajectory) for one in done), done
        return [one for one in done if isinstance(one, Trajectory)]

    return asyncio.run(run())
