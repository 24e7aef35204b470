"""An asset of a version, and GRPO, run through vLLM."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.build import build
from assets.graph import address, needed
from pipeline import rows, versions
from pipeline.store import Store
from pipeline.types import Problem
from pipeline.versions import Version, parse
from tests.trainers.test_grpo import rl_export_of
from tests.vllm.conftest import BASE
from trainers.grpo import train
from trainers.grpo_config import GrpoConfig

ENGINE = {"eager": True, "picture_cache": 0.5, "at_once": 64}


def through_vllm() -> Version:
    """The version `mini`, whole, whose cold model is the base, run by vLLM."""
    said = yaml.safe_load((versions.folder() / "mini.yaml").read_text().replace("5e-", "5.0e-"))
    policy = {"kind": "vllm", "model": str(BASE), "dtype": "float32", "engine": ENGINE}
    said["cold_model"]["policy"] = policy
    said["reflective_model"]["policy"]["lr"] = 1e-4
    return parse("mini-vllm", yaml.safe_dump(said))


def engines() -> set[threading.Thread]:
    """The threads of the engines that run."""
    return {thread for thread in threading.enumerate() if thread.name == "vllm"}


def test_all_the_reflective_trajectories_of_mini_are_sampled_by_vllm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAWLOOP_DATA", str(tmp_path / "data"))
    version = through_vllm()
    store, before = Store.at(), engines()
    built = {a: build(a, version, store) for a in needed(["reflective_set"], version)}
    assert engines() == before, "an engine ends with the asset"
    made = built["reflective_trajectories"].manifest
    counts = made.facts["yield"]
    assert counts == {"kept": 160 * 8}
    where = address("reflective_trajectories", version)
    told = store.rows("reflective_trajectories", where, "trajectories")
    runs = [rows.trajectory(row) for row in told]
    assert [run.sample for run in runs] == [*range(8)] * 160
    assert sum(len(run.turns) > 1 for run in runs) > 640  # most of them draw
    assert all(turn.ids and turn.logprobs for run in runs for turn in run.turns)
    print("\n", counts, built["reflective_set"].manifest.facts["yield"])


def test_grpo_learns_from_what_vllm_samples_with_the_weights_of_each_step(
    asked: list[Problem], tmp_path: Path
) -> None:
    data = rl_export_of(tmp_path / "data", "qwen2.5-vl", asked[:6])
    given: dict[str, Any] = {"steps": 3, "problems_per_step": 3, "samples": 4, "updates": 2}
    given |= {"max_tokens": 100, "max_context": 3000, "lr": 3e-4, "w_draw": 1.0}
    given |= {"sampler": "vllm", "sampler_eager": True, "in_flight": 16}
    out = tmp_path / "out"
    train(GrpoConfig(str(BASE), [data], str(out), **given))
    told = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    print("\n", [(line["reward"], line["sampler_gap"], line["grad_norm"]) for line in told])
    assert len(told) == 3
    assert any(line["grad_norm"] > 0 for line in told[:2])
    # Were the weights of an earlier step sampled from, these would be far apart by the third step.
    assert all(line["sampler_gap"] < 1e-4 for line in told)
    assert all(line["importance_capped"] == 0 for line in told)
