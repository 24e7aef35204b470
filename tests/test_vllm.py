"""What of the vLLM teacher needs no vLLM; the rest is in tests/vllm."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from assets import models
from assets.graph import address
from pipeline import teachers
from pipeline.policies import VllmPolicy
from pipeline.rollout import IN_FLIGHT
from pipeline.teachers.vllm import collapsed, seed_of
from pipeline.versions import Version, VersionError, parse
from tests.assets.conftest import TINY

BASE = Path(__file__).parents[1] / "weights" / "tiny-qwen2.5-vl"


def version(more: str = "", model: object = "there/model") -> Version:
    """One whose teacher and cold model are run by vLLM."""
    policy = f"{{policy: {{kind: vllm, model: {model}{more}}}, sampling: {{samples: 3}}}}"
    lines = [
        f"{line.split(':')[0]}: {policy}" if line.startswith(("teacher", "cold_model")) else line
        for line in TINY.splitlines()
    ]
    return parse("tiny", "\n".join(lines))


@pytest.mark.parametrize("asset", ["teacher_trajectories", "cold_model", "reflective_trajectories"])
def test_how_an_engine_runs_decides_nothing_of_what_is_made(asset: str) -> None:
    plain = address(asset, version())
    assert address(asset, version(", engine: {tensor_parallel: 8, memory_share: 0.5}")) == plain
    for change in (", dtype: float32", ", revision: abc"):
        assert address(asset, version(change)) != plain
    assert address(asset, version(model="elsewhere")) != plain
    assert "engine" not in json.dumps(models.reference("cold_model", version()))


def test_a_stage_has_as_many_trajectories_under_way_as_its_engine_works_on() -> None:
    asked = version(", engine: {at_once: 300}")
    assert isinstance(asked.teacher.policy, VllmPolicy)
    assert teachers.in_flight(asked.teacher) == 300
    assert teachers.in_flight(parse("tiny", TINY).teacher) == IN_FLIGHT


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (", engine: {tensor_parallel: 0}", "engine.tensor_parallel: 0"),
        (", engine: {memory_share: 1.5}", "engine.memory_share: 1.5"),
        (", engine: {gpus: 4}", "engine.gpus: no such field"),
        (", dtype: int4", "dtype: 'int4'"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(more: str, said: str) -> None:
    with pytest.raises(VersionError, match=said):
        version(more)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is here")
def test_where_vllm_is_not_installed_the_remedy_is_told() -> None:
    asked = version(model=BASE)
    with pytest.raises(teachers.NoBackend, match="pip install vllm"):
        teachers.policy(asked.teacher, asked, 0)


def test_a_checkpoint_that_is_not_there_is_named() -> None:
    asked = version(model="/no/such/model")
    with pytest.raises(teachers.NoBackend, match="/no/such/model"):
        teachers.policy(asked.teacher, asked, 0)


def test_a_run_of_placeholders_becomes_one() -> None:
    assert collapsed((1, 9, 9, 9, 2, 9, 2, 9, 9), 9) == [1, 9, 2, 9, 2, 9]


def test_seeds_are_those_of_their_streams() -> None:
    assert seed_of("a/1") == seed_of("a/1") != seed_of("a/2")
    assert 0 <= seed_of("a") < 2**63
