"""The tiny bases that are kept: whole, of the size that their cards say, and able to draw."""

import asyncio
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import curate, models, problems, tokens, versions
from pipeline.rollout import Limits, rollout
from pipeline.teachers.local import Local, Sampling

WEIGHTS = Path(__file__).parent.parent / "weights"
LIMITS = Limits(max_turns=4, task_turns=())


@dataclass(frozen=True)
class Base:
    """Where one lies, the version whose drawing skills it has learnt, what it is, and the least
    overlap of its drawings with the truth, by task: at random it would be 0.03."""

    folder: Path
    version: str
    kind: str
    draws: dict[str, float]
    model: Any


@pytest.fixture(
    scope="module",
    params=[
        (
            "qwen2.5-vl",
            "base",
            "Qwen2_5_VLForConditionalGeneration",
            {"maze": 0.5, "counting": 0.3},
        ),
        (
            "qwen3-vl",
            "base-qwen3",
            "Qwen3VLForConditionalGeneration",
            {"maze": 0.5, "counting": 0.25},
        ),
    ],
    ids=lambda param: param[0],
)
def base(request: pytest.FixtureRequest) -> Base:
    family, version, kind, draws = request.param
    folder = WEIGHTS / f"tiny-{family}"
    return Base(folder, version, kind, draws, models.load_model(str(folder)))


def test_it_is_a_qwen_of_two_to_five_million_parameters(base: Base) -> None:
    count = sum(p.numel() for p in base.model.parameters())
    assert type(base.model).__name__ == base.kind
    assert 2e6 <= count <= 5e6
    assert f"{count / 1e6:.2f} million" in (base.folder / "README.md").read_text()


def test_its_files_are_small(base: Base) -> None:
    assert all(path.stat().st_size <= 20e6 for path in base.folder.iterdir())


def test_no_scene_that_it_saw_is_asked_in_evaluation(base: Base) -> None:
    seen = {*pq.read_table(base.folder / "scenes.parquet")["fingerprint"].to_pylist()}
    version = versions.load(base.version)
    asked = islice(problems.orders(version, "evaluation"), 100)
    assert not {m for order in asked for m in problems.fingerprints(problems.make(order))} & seen
    learnt = islice(problems.orders(version, "skills"), 100)
    assert all(
        mark in seen for order in learnt for mark in problems.fingerprints(problems.make(order))
    )


@pytest.mark.parametrize("task", ["maze", "counting"])
def test_it_keeps_the_grammar_and_draws_where_things_are(base: Base, task: str) -> None:
    version = versions.load(base.version)
    processor = models.load_processor(str(base.folder))
    policy = Local(base.model, processor, LIMITS, Sampling(0.0, max_tokens=200))
    every = map(problems.make, problems.orders(version, "evaluation"))
    asked = list(islice((p for p in every if p.task == task), 24))

    async def run() -> list[Any]:
        runs = rollout(policy, asked, 1, LIMITS, version.wire, 24, tokens.counter(policy.words))
        return [one async for one in runs]

    graded = list(curate.grade(asked, asyncio.run(run()), version.rules, LIMITS.repeats))
    assert fmean(row.score.format for row in graded) > 0.9
    assert fmean(row.score.draw or 0.0 for row in graded) > base.draws[task]
