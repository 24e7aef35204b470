"""A version small enough to be built in a second, and a store of its own."""

from pathlib import Path

import pytest

from assets.build import Built, build
from assets.graph import NODES
from pipeline.store import Store
from pipeline.versions import Version, parse

TINY = """
description: for tests
seed: 5
canvas: {smallest: 112, largest: 140}
problems:
  tasks: {counting: {}, maze: {difficulty: [0, 0.4]}}
  splits: {skills: 6, cold: 8, reflective: 8, rl: 6, evaluation: 4}
rollout: {max_context: 6144}
teacher: {policy: {kind: oracle}, sampling: {samples: 3}}
cold_model: {policy: {kind: oracle, rates: {slip: 0.4}}, sampling: {samples: 3}}
reflective_model: {policy: {kind: oracle, rates: {wrong_answer: 0.4}}, sampling: {samples: 4}}
filters: {cold: {min_turns: 2}, reflective: {rule: paper}}
"""


@pytest.fixture
def tiny() -> Version:
    return parse("tiny", TINY)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DRAWLOOP_DATA", str(tmp_path / "data"))
    return Store.at()


def build_all(version: Version, store: Store) -> dict[str, Built]:
    """Every asset of a version, in the order of the graph."""
    return {asset: build(asset, version, store) for asset in NODES}


def digests(built: dict[str, Built]) -> dict[str, str]:
    """The sha256 of every part."""
    return {
        f"{asset}/{name}": part["sha256"]
        for asset, made in built.items()
        for name, part in made.manifest.parts.items()
    }
