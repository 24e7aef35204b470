"""What is exported in a format that is also imported comes back: problems, pictures and turns."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from assets.build import build
from assets.cli import main
from assets.graph import needed
from pipeline import rows
from pipeline.store import Store
from pipeline.types import Modality, Problem, Trajectory
from pipeline.versions import load
from tests.assets.conftest import TINY

MIX = "counting: {}, views: {difficulty: [0, 0.2]}, motion: {difficulty: [0, 0.2]}"
ONCE = TINY.replace("teacher: {policy: {kind: oracle}, sampling: {samples: 3}}",
                    "teacher: {policy: {kind: oracle}, sampling: {samples: 1}}")  # fmt: skip
ONCE = ONCE.replace("counting: {}", MIX).replace("cold: 8", "cold: 24")
BACK = """
description: what was exported
canvas: {smallest: 112, largest: 140}
problems:
  imports: {back: {path: exported, origin: a friend, licence: CC-BY-4.0, IMPORT}}
  splits: {skills: 0, cold: COLD, reflective: 0, rl: RL, evaluation: 0}
rollout: {max_context: 6144}
teacher: {policy: {kind: TEACHER}, sampling: {samples: 1}}
cold_model: {policy: {kind: oracle}, sampling: {samples: 1}}
reflective_model: {policy: {kind: checkpoint, model: no such}, sampling: {samples: 1}}
filters: {cold: {min_turns: 2}, reflective: {rule: paper}}
"""
SHAREGPT = "kind: sharegpt, dataset: drawloop"


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(tmp_path / "versions"))
    folder = tmp_path / "versions"
    folder.mkdir()
    (folder / "once.yaml").write_text(ONCE)
    return folder


def exported(store: Store, versions: Path, form: str, set_: str) -> list[Any]:
    """(problem, trajectory) of the set's native export, after it was written in the format."""
    version, native = load("once"), f"{set_}_export"
    for asset in needed([native], version):
        made = build(asset, version, store)
    words = ["export", "once", "--format", form, "--set", set_, "--to", str(versions / "exported")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    told = list(made.rows("train"))
    return [(rows.problem(row), rows.trajectory(row) if set_ == "cold" else None) for row in told]


def imported(store: Store, versions: Path, how: str, split: str) -> list[Any]:
    teacher = "recorded" if split == "cold" else "oracle"
    text = BACK.replace("IMPORT", how).replace("TEACHER", teacher)
    text = text.replace("COLD", "99" if split == "cold" else "0")
    (versions / "back.yaml").write_text(text.replace("RL", "99" if split == "rl" else "0"))
    version = load("back")
    problems = list(map(rows.problem, build("problems", version, store).rows(split)))
    if split != "cold":
        return [(problem, None) for problem in problems]
    told = build("teacher_trajectories", version, store).rows("trajectories")
    turns = {t.problem_id: t for t in map(rows.trajectory, told)}
    return [(problem, turns[problem.id]) for problem in problems]


def facts(problem: Problem, told: Trajectory | None) -> tuple[Any, ...]:
    said = tuple((turn.text, turn.parsed) for turn in told.turns) if told else ()
    pictures = tuple(image.sha256 for image in problem.images)
    asked = (problem.question, problem.options, problem.answer, problem.kind, problem.modality)
    return (*asked, pictures, said, told.stop if told else None)


@pytest.mark.parametrize(
    ("form", "set_", "how"),
    [
        ("vilasr-rl", "rl", "kind: vilasr, form: rl, files: [train.jsonl]"),
        ("vilasr-sft", "cold", "kind: vilasr, form: sft, files: [train.json]"),
        ("vilasr-sft", "cold", SHAREGPT),
        ("llamafactory", "cold", SHAREGPT),
    ],
)
def test_what_is_exported_comes_back_equal(
    form: str, set_: str, how: str, store: Store, versions: Path
) -> None:
    out = exported(store, versions, form, set_)
    back = imported(store, versions, how, set_)
    assert {problem.modality for problem, _ in out} == {*Modality}
    assert {facts(*one) for one in back} == {facts(*one) for one in out}


def test_the_card_of_an_imported_set_says_whose_it_is(store: Store, versions: Path) -> None:
    exported(store, versions, "vilasr-sft", "cold")
    imported(store, versions, SHAREGPT, "cold")
    version, card = load("back"), versions / "card"
    for asset in needed(["cold_export"], version):
        build(asset, version, store)
    words = ["export", "back", "--format", "trl-sft", "--set", "cold", "--to", str(card)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert any("a friend" in line and "CC-BY-4.0" in line for line in card_lines(card))


def card_lines(folder: Path) -> list[str]:
    return (folder / "README.md").read_text().splitlines()
