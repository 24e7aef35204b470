"""The tiny base that is kept: whole, of the size that its card says, and able to draw."""

import asyncio
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import curate, models, problems, tokens, versions
from pipeline.rollout import Limits, rollout
from pipeline.teachers.local import Local, Sampling

BASE = Path(__file__).parent.parent / "weights" / "tiny-qwen2.5-vl"
LIMITS = Limits(max_turns=4, task_turns=())


@pytest.fixture(scope="module")
def model() -> Any:
    return models.load_model(str(BASE))


def test_it_is_a_qwen_of_two_to_five_million_parameters(model: Any) -> None:
    count = sum(p.numel() for p in model.parameters())
    assert type(model).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert 2e6 <= count <= 5e6
    assert f"{count / 1e6:.2f} million" in (BASE / "README.md").read_text()


def test_its_files_are_small() -> None:
    assert all(path.stat().st_size <= 20e6 for path in BASE.iterdir())


def test_no_scene_that_it_saw_is_asked_in_evaluation() -> None:
    seen = {*pq.read_table(BASE / "scenes.parquet")["fingerprint"].to_pylist()}
    version = versions.load("base")
    asked = islice(problems.orders(version, "evaluation"), 100)
    assert not {m for order in asked for m in problems.fingerprints(problems.make(order))} & seen
    learnt = islice(problems.orders(version, "skills"), 100)
    assert all(
        mark in seen for order in learnt for mark in problems.fingerprints(problems.make(order))
    )


@pytest.mark.parametrize(("task", "draw"), [("maze", 0.5), ("counting", 0.3)])  # at random: 0.03
def test_it_keeps_the_grammar_and_draws_where_things_are(
    model: Any, task: str, draw: float
) -> None:
    version = versions.load("base")
    policy = Local(model, models.load_processor(str(BASE)), LIMITS, Sampling(0.0, max_tokens=200))
    every = map(problems.make, problems.orders(version, "evaluation"))
    asked = list(islice((p for p in every if p.task == task), 24))

    async def run() -> list[Any]:
        runs = rollout(policy, asked, 1, LIMITS, version.wire, 24, tokens.counter(policy.words))
        return [one async for one in runs]

    graded = list(curate.grade(asked, asyncio.run(run()), version.rules, LIMITS.repeats))
    assert fmean(row.score.format for row in graded) > 0.9
    assert fmean(row.score.draw or 0.0 for row in graded) > draw
