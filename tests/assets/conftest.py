"""Versions small enough to be built in seconds, a base that is none, and a store of their own."""

import hashlib
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.build import Built, build
from assets.graph import NODES
from assets.launch import Launch
from pipeline.store import Store
from pipeline.versions import Version, parse
from tests.assets.pretend import Pretending

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

TRAINING = """
description: for tests, and trained
seed: 5
canvas: {smallest: 112, largest: 112}
problems:
  tasks: {counting: {}, maze: {difficulty: [0, 0.4]}}
  unseen: {tasks: {views: {difficulty: [0, 0.2]}}, canvas: {smallest: 140, largest: 140}}
  splits: {skills: 6, cold: 8, reflective: 8, rl: 6, evaluation: 4, unseen_task: 2, unseen_size: 3}
rollout: {max_context: 6144}
teacher: {policy: {kind: oracle}, sampling: {samples: 3}}
base_model: {kind: tiny}
cold_model:
  policy: {kind: train, epochs: 2, lr: 1e-3, batch: 4}
  sampling: {samples: 3, temperature: 1.0, max_tokens: 128}
reflective_model:
  policy: {kind: train, lr: 2e-4}
  sampling: {samples: 4}
grpo_model: {kind: train, steps: 3, w_draw: 0.5}
evaluation: {samples: 2}
filters: {cold: {min_turns: 2}, reflective: {rule: paper}}
"""


@pytest.fixture
def tiny() -> Version:
    return parse("tiny", TINY)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DRAWLOOP_DATA", str(tmp_path / "data"))
    return Store.at()


def lay_base(
    weights: Path,
    content: bytes = b"weights",
    scenes: tuple[bytes, ...] = (),
    family: str = "qwen2.5-vl",
) -> Path:
    """A folder that passes for a tiny base, short of its weights."""
    folder = weights / f"tiny-{family}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "config.json").write_text("{}")
    marks = scenes or (hashlib.md5(b"elsewhere").digest(),)
    column = pa.array(marks, pa.binary(16))
    pq.write_table(pa.table({"fingerprint": column}), folder / "scenes.parquet")
    return folder


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRAWLOOP_WEIGHTS", str(tmp_path / "weights"))
    return lay_base(tmp_path / "weights")


def build_all(version: Version, store: Store, launch: Launch | None = None) -> dict[str, Built]:
    """Every asset of a version, in the order of the graph; by default trainers pretend."""
    trainers = launch or Pretending()
    return {asset: build(asset, version, store, trainers) for asset in NODES}


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Every asset of the version `tiny`, built once; its store is not to be changed."""
    return build_all(parse("tiny", TINY), Store.at(tmp_path_factory.mktemp("whole")))


@pytest.fixture
def stocked(whole: dict[str, Built], store: Store) -> Store:
    """A store of one's own that has every asset of the version `tiny`."""
    shutil.copytree(whole["problems"].inputs.store.root, store.root)
    return store


def digests(built: dict[str, Built]) -> dict[str, str]:
    """The sha256 of every part."""
    return {
        f"{asset}/{name}": part["sha256"]
        for asset, made in built.items()
        for name, part in made.manifest.parts.items()
    }
