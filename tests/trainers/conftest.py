"""Tiny models of both families, problems of each modality, and exports of a few trajectories."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.bodies import TABLES
from pipeline import canvas, grammar, models, protocol, rows, tokens
from pipeline.images import encode
from pipeline.protocol import FAMILIES, Family, to_wire
from pipeline.rollout import Limits, advance, read_turn
from pipeline.store import Store, Writer
from pipeline.tokens import Vocabulary
from pipeline.types import Answer, Image, Modality, Problem, State, Step, Trajectory
from tests.conftest import box, line, plain_problem
from trainers import tiny
from trainers.model import save

NAMES = ("qwen2.5-vl", "qwen3-vl")
TURNS = 6  # that a rollout of these tests may have
SMALL_TEXT = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
SMALL_TEXT |= {"num_attention_heads": 2, "num_key_value_heads": 2}
SMALL_VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2}
SMALL_VISION |= {"out_hidden_size": 64}


@dataclass(frozen=True)
class Small:
    """A model of a family that is as small as they come, and what goes with it."""

    name: str
    folder: Path
    processor: Any
    words: Vocabulary
    family: Family

    def load(self) -> Any:
        return models.load_model(str(self.folder))


def build_smalls(factory: pytest.TempPathFactory) -> dict[str, Small]:
    with pytest.MonkeyPatch.context() as patch:
        for there, small in ((tiny.TEXT, SMALL_TEXT), (tiny.VISION, SMALL_VISION)):
            for key, value in small.items():
                patch.setitem(there, key, value)
        return {name: _small(name, factory.mktemp(name)) for name in NAMES}


def _small(name: str, folder: Path) -> Small:
    texts = [protocol.SYSTEM, "Which animal is on the left? The cat is on the left of the dog."]
    processor = tiny.build_processor(name, texts)
    save(tiny.build_tiny(name, processor, seed=1), processor, folder)
    processor = models.load_processor(str(folder))
    return Small(name, folder, processor, tokens.vocabulary(processor), FAMILIES[name])


def noise(seed: int, columns: int, lines: int, family: Family) -> Image:
    """A picture of that many patches across and down."""
    shape = (lines * family.unit, columns * family.unit, 3)
    return encode(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def problem_of(modality: Modality, family: Family, number: int = 0) -> Problem:
    """One picture, three views of different sizes, or four frames; unlike for each number."""
    sizes = {
        Modality.IMAGE: [(3 + number % 3, 3)],
        Modality.VIEWS: [(2, 3), (4, 2), (3, 3)],
        Modality.VIDEO: [(3, 2)] * 4,
    }[modality]
    images = tuple(noise(100 * number + n, *size, family) for n, size in enumerate(sizes))
    return plain_problem(id=f"{modality}-{number}", modality=modality, images=images)


def solved(problem: Problem, family: Family, draws: int = 1) -> Trajectory:
    """Draws that many times, on the newest picture, and answers."""
    now = walked(problem, family, [_drawing(problem, n) for n in range(draws)])
    assert isinstance(now, State)
    turn = read_turn(now, grammar.write(Answer("So it is the cat.", problem.answer)), family)
    done = advance(now, turn, Limits(max_turns=TURNS), family)
    assert isinstance(done, Trajectory)
    return done


def _drawing(problem: Problem, number: int) -> Step:
    """A box and a line on the newest picture, moved a little each time."""
    seen = len(problem.images) + number
    at = 4 + 9 * number
    ops = (box(at, at, at + 40, at + 30, "cat", k=seen), line(at, 2, 50, 50, "way", k=seen))
    return Step(f"The cat is at {at}.", ops[: 1 + number % 2])


def walked(problem: Problem, family: Family, steps: Sequence[Step]) -> State | Trajectory:
    """The state after some drawing turns, said as text in the family's own coordinates."""
    now: State | Trajectory = canvas.opened(problem)
    for step in steps:
        assert isinstance(now, State)
        bases = [problem.images[now.views[op.k - 1].base - 1] for op in step.ops]
        ops = [to_wire(op, base.size, family) for op, base in zip(step.ops, bases, strict=True)]
        text = grammar.write(Step(step.thought, tuple(ops)))
        now = advance(now, read_turn(now, text, family), Limits(max_turns=TURNS), family)
    return now


def export(
    root: Path, name: str, told: Iterable[tuple[Problem, Trajectory]], **changes: object
) -> str:
    """The folder of an export of trajectories, as the pipeline writes it."""
    store = Store.at(root)
    with Writer(store, "cold_export", "0" * 16, TABLES["export"]) as writer:
        for problem, trajectory in told:
            row = {**rows.problem_row(problem), **rows.trajectory_row(trajectory)}
            wire = {"family": name, "max_turns": TURNS, "max_images": 42}
            writer.append("train", {**row, **wire, **changes})
    return str(root / "cold_export" / ("0" * 16))


def told(family: Family, count: int) -> Iterator[tuple[Problem, Trajectory]]:
    """Solved problems of all modalities, of one and two drawings."""
    for number in range(count):
        problem = problem_of(list(Modality)[number % 3], family, number)
        yield problem, solved(problem, family, draws=1 + number // 3 % 2)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve trajectories for Qwen2.5-VL; not to be changed."""
    root = tmp_path_factory.mktemp("exported")
    return export(root, "qwen2.5-vl", told(FAMILIES["qwen2.5-vl"], 12))
