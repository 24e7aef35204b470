"""Doubles for imports: a folder of version files with data beside, and what a version makes of it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.images import png
from pipeline.importing import Ledger
from pipeline.problems import Refused, sample
from pipeline.types import Problem
from pipeline.versions import Version, parse

ORIGIN = {"origin": "made for a test", "licence": "CC0-1.0"}
EACH = {"skills": 0, "cold": 100, "reflective": 100, "rl": 100, "evaluation": 100}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where version files would lie, and data beside them."""
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(tmp_path))
    data = tmp_path / "mine"
    data.mkdir()
    return data


def picture(path: Path, seed: int, width: int = 168, height: int = 112) -> str:
    """A picture of noise in large cells, of its own for each seed; its name."""
    cells = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), np.uint8)
    grown = np.kron(cells, np.ones((height // 4 + 1, width // 6 + 1, 1), np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(np.ascontiguousarray(grown[:height, :width])))
    return path.name


def pixels(seed: int) -> bytes:
    """The bytes of such a picture."""
    cells = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), np.uint8)
    return png(np.ascontiguousarray(np.kron(cells, np.ones((28, 28, 1), np.uint8))))


def lines(path: Path, rows: Iterable[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def asked(imports: dict[str, Any], splits: dict[str, int] = EACH, **more: Any) -> Version:
    """A version of nothing but imports; a checkpoint sits in every seat, unless it is said who."""
    student = {"policy": {"kind": "checkpoint", "model": "none"}, "sampling": {"samples": 1}}
    text = {
        "description": "for tests",
        "canvas": {"smallest": 112, "largest": 168},
        "problems": {"imports": imports, "splits": splits, **more.pop("problems", {})},
        "rollout": {"max_context": 6144},
        "teacher": student,
        "cold_model": student,
        "reflective_model": student,
        "filters": {"cold": {"min_turns": 1}, "reflective": {"rule": "none"}},
        **more,
    }
    return parse("test", yaml.safe_dump(text))


def folder_of(**more: Any) -> Version:
    return asked({"mine": {"kind": "folder", "path": "mine", **ORIGIN, **more}})


def made(version: Version) -> tuple[dict[str, list[Problem]], dict[str, str]]:
    """Kept problems by split, and the reason of each that was dropped, by id."""
    kept: dict[str, list[Problem]] = {}
    dropped: dict[str, str] = {}
    for split, problem, verdict in sample(version, 1, None, Ledger()):
        if verdict.keep:
            assert isinstance(problem, Problem)
            kept.setdefault(split, []).append(problem)
        else:
            dropped[problem.id] = verdict.reason
            assert isinstance(problem, Problem | Refused)
    return kept, dropped


def only(version: Version) -> Problem:
    """The one problem that a version makes."""
    kept, dropped = made(version)
    assert not dropped, dropped
    (problem,) = [problem for problems in kept.values() for problem in problems]
    return problem


def reasons(version: Version) -> list[str]:
    """Why rows were dropped, in order of rows."""
    return [reason for _, reason in sorted(made(version)[1].items(), key=lambda kv: kv[0][-6:])]
